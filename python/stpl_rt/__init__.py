"""Real-time segmentation of live video with temporal propagation; no PyTorch needed.

    segmenter = stpl_rt.Segmenter("street.bundle", schedule="fixed:5")
    result = segmenter(frame)        # frame: uint8 (H, W, 3) RGB
    result.labels                    # uint8 (H, W), class ids
    for result in segmenter.stream(frames): ...

Flow, everywhere: it lives on the grid of frame t and points into frame t-1, in pixels of the grid it is stored
on, channels (dx, dy): ``warped(x, y) = past(x + dx, y + dy)``, bilinear, border-clamped.
"""

from __future__ import annotations

from stpl_rt import _openvino

_openvino.load_core()

from stpl_rt import _core
from stpl_rt._core import (
    Bundle,
    ClassInfo,
    DeviceArray,
    DisFlow,
    Error,
    InputSpec,
    LogitsSpec,
    Network,
    NetworkSpec,
    Result,
    TensorSpec,
    carry_logits,
    compose_flow,
    dis_flow,
    engines,
    flow_validity,
    luma,
    preprocess,
    sample_argmax,
    warp,
)
from stpl_rt.overlay import colorize, overlay
from stpl_rt.segmenter import Segmenter

__version__: str = _core.__version__

__all__ = [
    "Bundle",
    "ClassInfo",
    "DeviceArray",
    "DisFlow",
    "Error",
    "InputSpec",
    "LogitsSpec",
    "Network",
    "NetworkSpec",
    "Result",
    "Segmenter",
    "TensorSpec",
    "__version__",
    "carry_logits",
    "colorize",
    "compose_flow",
    "dis_flow",
    "engines",
    "flow_validity",
    "luma",
    "overlay",
    "preprocess",
    "sample_argmax",
    "warp",
]
