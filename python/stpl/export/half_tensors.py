"""Inputs and outputs of a network in fp16 where its layers are: half the bytes between the runtime's kernels and it.

The files of a bundle take and give float32, as every engine on a CPU does. TensorRT's plans need not: a float32 input
that is rounded to fp16 before anything else is computed may as well be written in fp16, and an output that is fp16
until its last step stays so. Nothing is computed otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping

import onnx
from onnx import TensorProto

from stpl.export.half_precision import cast_to


def with_half_tensors(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with its casts of inputs to fp16, and of outputs from it, left out; others stay as they are.

    A float32 input that a layer reads in float32 stays float32, and so does an output that a float32 layer makes.
    """
    half = copy.deepcopy(model)
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    types = {value.name: value.type.tensor_type.elem_type for value in inferred}
    for value in half.graph.input:
        _halve_input(half.graph, value)
    for value in half.graph.output:
        _halve_output(half.graph, value, types)
    del half.graph.value_info[:]
    return half


def _halve_input(graph: onnx.GraphProto, value: onnx.ValueInfoProto) -> None:
    readers = [node for node in graph.node if value.name in node.input]
    if not readers or any(cast_to(node) != TensorProto.FLOAT16 for node in readers):
        return
    cast = {node.output[0] for node in readers}
    if cast & {output.name for output in graph.output}:
        return
    value.type.tensor_type.elem_type = TensorProto.FLOAT16
    _read_instead(graph, cast, value.name)
    for node in readers:
        graph.node.remove(node)


def _halve_output(graph: onnx.GraphProto, value: onnx.ValueInfoProto, types: Mapping[str, int]) -> None:
    makers = {name: node for node in graph.node for name in node.output}
    last = makers[value.name]
    if cast_to(last) != TensorProto.FLOAT or types.get(last.input[0]) != TensorProto.FLOAT16:
        return
    source, maker = last.input[0], makers.get(last.input[0])
    if maker is None or any(value.name in node.input for node in graph.node):  # somebody reads it in float32
        return
    value.type.tensor_type.elem_type = TensorProto.FLOAT16
    graph.node.remove(last)
    maker.output[list(maker.output).index(source)] = value.name
    _read_instead(graph, {source}, value.name)


def _read_instead(graph: onnx.GraphProto, names: Container[str], instead: str) -> None:
    """Who reads one of ``names`` reads ``instead``."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in names:
                node.input[index] = instead
