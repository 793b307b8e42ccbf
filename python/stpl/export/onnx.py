"""A network as an ONNX file of fixed input size."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import nn

OPSET = 18
"""The opset that PyTorch's exporter writes natively; a conversion to another would be one more thing to trust."""

INPUT_NAME = "image"
OUTPUT_NAME = "logits"


@dataclass(frozen=True)
class ExportedNetwork:
    """An ONNX file and what the manifest says of it.

    Attributes:
        file: where it was written.
        sha256: of its content, lower-case hexadecimal.
        input_shape: ``(1, 3, H, W)`` of the float32 tensor ``image``.
        logits_shape: ``(1, C, h, w)`` of the float32 tensor ``logits``.
    """

    file: Path
    sha256: str
    input_shape: tuple[int, int, int, int]
    logits_shape: tuple[int, int, int, int]


def export_onnx(model: nn.Module, height: int, width: int, file: Path) -> ExportedNetwork:
    """Writes ``model.forward`` for one image of ``height`` x ``width`` pixels.

    The file holds no notes of the exporter (source files and lines, names of Python classes): the same weights and
    versions give the same bytes on every machine.

    Args:
        model: takes ``(1, 3, H, W)`` float32 and gives ``(1, C, h, w)`` float32; exported in evaluation mode, its
            own mode is left as it was.
        file: written directly; callers export into a temporary folder.

    Raises:
        ValueError: the exported graph is not one image in, one map of logits out.
    """
    training = model.training
    model.eval()
    try:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        example = torch.zeros(1, 3, height, width, device=device)
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                opset_version=OPSET,
                verbose=False,
            )
    finally:
        model.train(training)
    assert program is not None  # None is what the older, tracing exporter gives
    graph = program.model_proto
    _strip_notes(graph)
    onnx.checker.check_model(graph, full_check=True)
    content = graph.SerializeToString(deterministic=True)
    file.write_bytes(content)
    input_shape = _only_shape(graph.graph.input, INPUT_NAME, file)
    logits_shape = _only_shape(graph.graph.output, OUTPUT_NAME, file)
    if input_shape != (1, 3, height, width):
        raise ValueError(f"{file}: expected the input {(1, 3, height, width)}, found {input_shape}")
    return ExportedNetwork(file, hashlib.sha256(content).hexdigest(), input_shape, logits_shape)


def _only_shape(values: Iterable[onnx.ValueInfoProto], name: str, file: Path) -> tuple[int, int, int, int]:
    """The shape of the one tensor among ``values``: four fixed sides, float32."""
    found = list(values)
    tensors = [value.type.tensor_type for value in found]
    if [value.name for value in found] != [name] or tensors[0].elem_type != onnx.TensorProto.FLOAT:
        raise ValueError(f"{file}: expected one float32 tensor '{name}', found {[value.name for value in found]}")
    sides = tuple(dimension.dim_value for dimension in tensors[0].shape.dim)
    if len(sides) != 4 or min(sides) < 1:
        raise ValueError(f"{file}: expected '{name}' with four fixed sides, found {sides}")
    return sides[0], sides[1], sides[2], sides[3]


def _strip_notes(model: onnx.ModelProto) -> None:
    """Drops names, paths and stack traces of the exporting program."""
    graph = model.graph
    del model.metadata_props[:]
    del graph.metadata_props[:]
    del graph.value_info[:]  # shapes of inner tensors: engines infer them
    graph.doc_string = ""
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks to itself; its errors are exceptions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
