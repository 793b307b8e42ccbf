"""Networks typed in fp16 or bf16, and what such typing does to their numbers.

Engines that read types from the file (TensorRT from version 11 on, TensorRT for RTX) run every layer in the type of
its tensors. Inputs and outputs stay float32: they are the runtime's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from stpl.export.node_order import sort_nodes
from stpl.export.onnx_session import open_session

Half = Literal["fp16", "bf16"]
Feed = Mapping[str, NDArray[np.float32]]
"""A network's inputs by name."""

FP16_LIMIT = 65504.0
HEADROOM = 2.0
"""How far below the limit a value must stay on the calibration frames: other frames have larger ones."""

_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_ARRAYS = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}
_FLOAT_PARAMETERS = {"Resize": (1, 2)}
"""Inputs that are float32 whatever the type of the first one: region and scales."""


def to_half(model: onnx.ModelProto, precision: Half, keep: Iterable[str] = ()) -> onnx.ModelProto:
    """The network in half precision, but for the nodes named in ``keep``, which stay in fp32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16  # type: ignore[import-untyped]

    # An empty block list: the default keeps Resize and others in fp32 for engines that are not ours.
    half: onnx.ModelProto = convert_float_to_float16(
        copy.deepcopy(model), keep_io_types=True, op_block_list=[], node_block_list=list(keep)
    )
    del half.graph.value_info[:]
    _join_kept(half)
    if precision == "bf16":
        _retype(half, model)
    sort_nodes(half.graph)
    return half


def _join_kept(model: onnx.ModelProto) -> None:
    """Lets neighbours that are both kept exchange fp32.

    The converter puts every kept node between casts of its own, so that a value too large for fp16 would overflow
    on the way from one to the next.
    """
    graph = model.graph
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    exact = {}
    for name, node in casts.items():
        before = casts.get(node.input[0])
        if cast_to(node) == TensorProto.FLOAT and before is not None and cast_to(before) == TensorProto.FLOAT16:
            exact[name] = before.input[0]
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = exact.get(name, name)
    for node in graph.node:  # an output's own cast keeps its name
        if node.op_type == "Cast" and node.output[0] in exact and node.output[0] in outputs:
            node.input[0] = exact[node.output[0]]
    _drop_unused_casts(graph)


def _drop_unused_casts(graph: onnx.GraphProto) -> None:
    while True:
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        unused = [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in used]
        if not unused:
            return
        for node in unused:
            graph.node.remove(node)


def _retype(half: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Makes bf16 of what is fp16; weights are rounded from the original's, not from fp16's."""
    weights = {tensor.name: tensor for tensor in original.graph.initializer}
    for tensor in half.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            exact = numpy_helper.to_array(weights[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(exact.astype(ml_dtypes.bfloat16), tensor.name))
    for node in half.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16


def cast_to(node: onnx.NodeProto) -> int | None:
    """The type that a Cast makes; None of other nodes."""
    if node.op_type != "Cast":
        return None
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == "to")


def float_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that compute floats, in order: those that a precision can be chosen for."""
    floats = _float_tensors(model)
    return [node for node in model.graph.node if any(name in floats for name in node.output)]


def rounded(model: onnx.ModelProto, precision: Half, keep: Iterable[str] = ()) -> onnx.ModelProto:
    """A float32 network that rounds where the one of :func:`to_half` does.

    What a GPU gives, nearly: sums are made in float32 and their result is rounded, and what is too large becomes
    infinite. ONNX Runtime would run the typed network on a CPU as if nothing in it were rounded. To be run without
    optimisation, which takes such casts away.
    """
    emulated = copy.deepcopy(model)
    graph, floats, kept = emulated.graph, _float_tensors(model), set(keep)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    made: dict[str, str] = {}  # tensors in fp32, and their rounded twins
    exact = {value.name for value in graph.input}
    nodes: list[onnx.NodeProto] = []

    def twin(name: str) -> str:
        if name not in made:
            made[name] = f"{name}__{precision}"
            if name in weights:
                array = numpy_helper.to_array(weights[name])
                with np.errstate(over="ignore"):
                    array = array.astype(_ARRAYS[precision]).astype(np.float32)
                graph.initializer.append(numpy_helper.from_array(array, made[name]))
            else:
                nodes.extend(_round(name, made[name], precision))
        return made[name]

    for node in graph.node:
        if node.name in kept or not any(name in floats for name in node.output):
            exact.update(name for name in node.output if name in floats)
            nodes.append(node)
            continue
        for index, name in enumerate(node.input):
            follows = index not in _FLOAT_PARAMETERS.get(node.op_type, ())
            if follows and name in floats and (name in weights or name in exact):
                node.input[index] = twin(name)
        results = [name for name in node.output if name in floats]
        for index, name in enumerate(node.output):
            if name in floats:
                node.output[index] = f"{name}__exact"
        nodes.append(node)
        for name in results:
            nodes.extend(_round(f"{name}__exact", name, precision))
    del graph.node[:]
    graph.node.extend(nodes)
    return emulated


def _round(source: str, target: str, precision: Half) -> list[onnx.NodeProto]:
    half = f"{target}__half"
    return [
        helper.make_node("Cast", [source], [half], name=f"{half}_cast", to=_TYPES[precision]),
        helper.make_node("Cast", [half], [target], name=f"{target}_cast", to=TensorProto.FLOAT),
    ]


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    named = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return named | {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}


def peaks(model: onnx.ModelProto, feeds: Sequence[Feed]) -> dict[str, float]:
    """The largest magnitude of every float tensor that a node computes, over all feeds."""
    measuring = copy.deepcopy(model)
    graph = measuring.graph
    results = [name for node in float_nodes(model) for name in node.output if name]
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < 18:
        raise ValueError(f"expected opset 18 or later, found {opset}")
    for name in results:
        # Two numbers a tensor leave ONNX Runtime, not the tensor: all of them at once may not fit into memory.
        graph.node.append(helper.make_node("Abs", [name], [f"{name}__abs"]))
        graph.node.append(helper.make_node("ReduceMax", [f"{name}__abs"], [f"{name}__peak"], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(f"{name}__peak", TensorProto.FLOAT, []))
    session = open_session(measuring)
    found = dict.fromkeys(results, 0.0)
    for feed in feeds:
        for name, peak in zip(results, session.run([f"{name}__peak" for name in results], feed), strict=True):
            found[name] = max(found[name], float(peak)) if np.isfinite(peak) else float("inf")
    return found


def overflowing(model: onnx.ModelProto, feeds: Sequence[Feed]) -> dict[str, str]:
    """Nodes that cannot be in fp16, and why: what they make, take or weigh with is too large.

    A value that does not fit must be both made and read in fp32, so its makers and its readers are named.
    """
    limit = FP16_LIMIT / HEADROOM
    large = {name: peak for name, peak in peaks(model, feeds).items() if not peak <= limit}
    for tensor, array in _float_weights(model):
        peak = float(np.abs(array).max(initial=0.0))
        if not peak <= FP16_LIMIT:
            large[tensor] = peak
    reasons: dict[str, str] = {}
    for node in float_nodes(model):
        for role, names in (("makes", node.output), ("takes", node.input)):
            worst = max((large[name] for name in names if name in large), default=None)
            if worst is not None and node.name not in reasons:
                reasons[node.name] = f"{role} values up to {worst:.3g}, fp16 ends at {FP16_LIMIT:.0f}"
    return reasons


def _float_weights(model: onnx.ModelProto) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            yield tensor.name, numpy_helper.to_array(tensor)
