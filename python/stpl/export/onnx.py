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

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class ExportedNetwork:
    """An ONNX file and what the manifest says of it.

    Attributes:
        file: where it was written.
        sha256: of its content, lower-case hexadecimal.
        inputs: shapes of its float32 inputs by name, in the order of ``forward``'s arguments.
        output: name and shape ``(1, C, h, w)`` of its float32 output.
    """

    file: Path
    sha256: str
    inputs: dict[str, Shape]
    output: tuple[str, Shape]

    @property
    def logits_shape(self) -> Shape:
        """``(1, C, h, w)``."""
        return self.output[1]


def export_onnx(model: nn.Module, height: int, width: int, file: Path) -> ExportedNetwork:
    """Writes ``model.forward`` for one image ``(1, 3, height, width)``, to logits; see :func:`export_network`."""
    return export_network(model, {INPUT_NAME: (1, 3, height, width)}, OUTPUT_NAME, file)


def export_network(model: nn.Module, inputs: dict[str, Shape], output: str, file: Path) -> ExportedNetwork:
    """Writes ``model.forward`` for tensors of fixed shapes.

    The file holds no notes of the exporter (source files and lines, names of Python classes): the same weights and
    versions give the same bytes on every machine.

    Args:
        model: takes tensors of the shapes of ``inputs``, float32, and gives ``(1, C, h, w)`` float32; exported in
            evaluation mode, its own mode is left as it was.
        inputs: name and shape of each argument, in their order.
        file: written directly; callers export into a temporary folder.

    Raises:
        ValueError: the exported graph has other inputs, or another output than one map of logits.
    """
    training = model.training
    model.eval()
    try:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        example = tuple(torch.zeros(shape, device=device) for shape in inputs.values())
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                example,
                dynamo=True,
                input_names=list(inputs),
                output_names=[output],
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
    found = _shapes(graph.graph.input, file)
    if found != inputs:
        raise ValueError(f"{file}: expected the inputs {inputs}, found {found}")
    outputs = _shapes(graph.graph.output, file)
    if list(outputs) != [output]:
        raise ValueError(f"{file}: expected one output '{output}', found {outputs}")
    return ExportedNetwork(file, hashlib.sha256(content).hexdigest(), found, (output, outputs[output]))


def _shapes(values: Iterable[onnx.ValueInfoProto], file: Path) -> dict[str, Shape]:
    """Names and shapes: four fixed sides each, float32."""
    shapes = {}
    for value in values:
        tensor = value.type.tensor_type
        sides = tuple(dimension.dim_value for dimension in tensor.shape.dim)
        if tensor.elem_type != onnx.TensorProto.FLOAT or len(sides) != 4 or min(sides) < 1:
            raise ValueError(f"{file}: expected '{value.name}' as float32 with four fixed sides, found {sides}")
        shapes[value.name] = (sides[0], sides[1], sides[2], sides[3])
    return shapes


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
