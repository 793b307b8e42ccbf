"""A network of one frame made to take several: the batch, written into the file as 1, becomes a variable."""

from __future__ import annotations

import copy

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from stpl.errors import UserError
from stpl.export.onnx_session import open_session

Arrays = dict[str, NDArray[np.float32]]

BATCH = "batch"
TOLERANCE = 1e-3
"""Of the logits' spread: engines sum in another order for another batch."""


def with_dynamic_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with a variable first side of all inputs and outputs.

    The exporter writes shapes with the batch of 1 into Reshape and Resize. The first side of every Reshape becomes
    "what remains" and Resize takes its batch from its input, which is right where the batch is always the first side.
    That it is follows from nothing in the file, so it is tried: two different frames together must give what each
    gives alone.

    Raises:
        UserError: they do not.
    """
    dynamic = onnx.shape_inference.infer_shapes(copy.deepcopy(model))
    graph = dynamic.graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    nodes = []
    for node in graph.node:
        if node.op_type == "Reshape":
            _free_reshape(graph, node, shapes[node.output[0]])
        elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
            nodes.extend(_free_resize(graph, node, shapes[node.output[0]]))
        nodes.append(node)
    del graph.value_info[:]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    _require_equal(model, dynamic)
    return dynamic


def _free_reshape(graph: onnx.GraphProto, node: onnx.NodeProto, shape: list[int]) -> None:
    if any(side < 1 for side in shape):
        raise UserError(f"batch: expected fixed shapes in the network; found {shape} at '{node.name}'")
    name = f"{node.output[0]}_{BATCH}_shape"
    graph.initializer.append(numpy_helper.from_array(np.array([-1, *shape[1:]], np.int64), name))
    node.input[1] = name
    for attribute in [attribute for attribute in node.attribute if attribute.name == "allowzero"]:
        node.attribute.remove(attribute)


def _free_resize(graph: onnx.GraphProto, node: onnx.NodeProto, shape: list[int]) -> list[onnx.NodeProto]:
    """The nodes that make the size of a Resize from its input's batch. TensorRT does not take ``axes`` here."""
    prefix = f"{node.output[0]}_{BATCH}"
    sides, batch, sizes = f"{prefix}_sides", f"{prefix}_side", f"{prefix}_sizes"
    graph.initializer.append(numpy_helper.from_array(np.array(shape[1:], np.int64), sides))
    made = [
        helper.make_node("Shape", [node.input[0]], [batch], name=batch, start=0, end=1),
        helper.make_node("Concat", [batch, sides], [sizes], name=sizes, axis=0),
    ]
    node.input[3] = sizes
    return made


def _require_equal(fixed: onnx.ModelProto, dynamic: onnx.ModelProto) -> None:
    rng = np.random.default_rng(0)
    frames: list[Arrays] = [
        {
            value.name: rng.standard_normal([d.dim_value for d in value.type.tensor_type.shape.dim]).astype(np.float32)
            for value in fixed.graph.input
        }
        for _ in range(2)
    ]
    alone = open_session(fixed)
    expected = np.concatenate([alone.run(None, frame)[0] for frame in frames])
    together = {name: np.concatenate([frame[name] for frame in frames]) for name in frames[0]}
    try:
        found = open_session(dynamic).run(None, together)[0]
    except Exception as error:  # ONNX Runtime's own have no common base
        raise UserError(
            f"batch: the network cannot take several frames at once: {' '.join(str(error).split())}"
        ) from error
    if found.shape != expected.shape or np.abs(found - expected).max() > TOLERANCE * max(float(np.ptp(expected)), 1e-6):
        raise UserError(
            "batch: expected two frames together to give what each gives alone; found something else: the network "
            "mixes the frames of a batch; build with --batch 1"
        )
