"""The arithmetic that an ONNX file states by the types of its tensors."""

from __future__ import annotations

from typing import Literal, get_args

import onnx

Precision = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def precision_of(model: onnx.ModelProto) -> Precision:
    """The lowest precision that a network's layers are stored in.

    Weights decide for fp16 and bf16, QuantizeLinear for int8. Such a network may keep single layers in fp32.
    """
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    types = {tensor.data_type for tensor in model.graph.initializer}
    casts = {
        attribute.i
        for node in model.graph.node
        if node.op_type == "Cast"
        for attribute in node.attribute
        if attribute.name == "to"
    }
    if onnx.TensorProto.BFLOAT16 in types | casts:
        return "bf16"
    return "fp16" if onnx.TensorProto.FLOAT16 in types | casts else "fp32"
