"""ONNX Runtime and OpenVINO on the CPU, as the checks of exported networks use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Run = Callable[[Mapping[str, NDArray[np.float32]]], NDArray[np.float32]]
"""A network as a function: its inputs by name, to its one output."""


def open_session(network: onnx.ModelProto | str | Path, *, optimised: bool = True) -> Any:
    """An ``onnxruntime.InferenceSession`` for a file or a model in memory.

    Args:
        optimised: False keeps every node as it is written, also casts that say "round here".
    """
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = network.SerializeToString() if isinstance(network, onnx.ModelProto) else str(network)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def onnx_runtime(network: onnx.ModelProto, *, optimised: bool = True) -> Run:
    """The network in :func:`open_session`."""
    session = open_session(network, optimised=optimised)
    return lambda feed: np.asarray(session.run(None, dict(feed))[0])


def openvino_runtime(network: onnx.ModelProto) -> Run:
    """The network in OpenVINO; what the file does not state in lower precision is computed in float32."""
    import openvino

    core = openvino.Core()
    model = core.read_model(network.SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda feed: np.asarray(compiled(dict(feed))[0])
