"""Which layers of a network keep a higher precision, so that its labels stay what they were."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from stpl.export.half_precision import Feed, Half, float_nodes, overflowing, rounded, to_half
from stpl.export.int8 import Calibration, Int8Converter
from stpl.export.network_precision import Precision
from stpl.export.onnx_session import Run, onnx_runtime, openvino_runtime

logger = logging.getLogger(__name__)

Labels = NDArray[np.int64]
GROUPS = 16
"""Into how many runs of consecutive layers a network is cut, to see which of them lose most."""


@dataclass(frozen=True)
class Lowered:
    """A network in lower precision.

    Attributes:
        model: with float32 inputs and outputs.
        disagreement: share of the calibration frames' labels, on the logits' grid, that differ from fp32's.
        plain_disagreement: the same where only layers that overflow are kept.
        kept: names of the layers that stay in fp32, and why.
        layers: how many could be lowered.
    """

    model: onnx.ModelProto
    precision: Precision
    disagreement: float
    plain_disagreement: float
    kept: dict[str, str] = field(default_factory=dict)
    layers: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For the manifest's provenance."""
        return {
            "precision": self.precision,
            "disagreement": self.disagreement,
            "disagreement_without_keeping": self.plain_disagreement,
            "layers": self.layers,
            "kept_in_fp32": self.kept,
        }


def lower(
    model: onnx.ModelProto,
    precision: Precision,
    feeds: Sequence[Feed],
    *,
    max_loss: float,
    calibration: Calibration = "percentile",
) -> Lowered:
    """A network in lower precision that labels the feeds as the fp32 one does, on all but ``max_loss`` of the pixels.

    Args:
        model: float32; one output of logits (1, C, h, w).
        feeds: inputs of the kind that it will see, at least one.
        max_loss: share of the pixels, 0 to 1. Where more disagree, the layers that lose most are kept in fp32.

    An int8 file is judged by the worse of ONNX Runtime and OpenVINO: they run it as it stands, and OpenVINO has been
    seen to compute single int8 layers wrongly (a convolution of what several Resize are concatenated to).
    """
    if not feeds:
        raise ValueError("expected at least one frame to calibrate on")
    reference = _labels(onnx_runtime(model), feeds)
    if precision == "int8":
        converter = Int8Converter(model, feeds, calibration)
        candidates, forced = converter.candidates(), dict[str, str]()

        def evaluate(kept: Iterable[str]) -> float:
            candidate = converter.convert(kept)
            engines = (onnx_runtime(candidate), openvino_runtime(candidate))
            return max(_disagreement(_labels(engine, feeds), reference) for engine in engines)
    else:
        half: Half = "bf16" if precision == "bf16" else "fp16"
        candidates = [node.name for node in float_nodes(model)]
        forced = overflowing(model, feeds) if half == "fp16" else {}

        def evaluate(kept: Iterable[str]) -> float:
            emulated = onnx_runtime(rounded(model, half, kept), optimised=False)
            return _disagreement(_labels(emulated, feeds), reference)

    plain = evaluate(forced)
    kept = forced
    if plain > max_loss:
        kept = {**forced, **_keep_worst(candidates, forced, plain, evaluate, max_loss)}
    disagreement = plain if kept is forced else evaluate(kept)
    lowered = converter.convert(kept) if precision == "int8" else to_half(model, half, kept)
    return Lowered(lowered, precision, disagreement, plain, kept, len(candidates))


def _keep_worst(
    candidates: Sequence[str],
    forced: Mapping[str, str],
    plain: float,
    evaluate: Callable[[Iterable[str]], float],
    max_loss: float,
) -> dict[str, str]:
    """Layers to keep beside the forced ones, and what keeping each, with its neighbours, gave.

    Each run of layers is kept alone to see what that gives; then the best are kept together, one more at a time,
    until the loss is small enough. With all of them kept nothing is left to lose.
    """
    free = [name for name in candidates if name not in forced]
    groups = [list(group) for group in np.array_split(np.array(free, dtype=object), min(GROUPS, len(free)))]
    losses = [evaluate([*forced, *group]) for group in groups]
    kept: dict[str, str] = {}
    for place, index in enumerate(np.argsort(losses, kind="stable")):
        for name in groups[index]:
            kept[name] = f"kept with its {len(groups[index]) - 1} neighbours it brings disagreement from {plain:.2%} "
            kept[name] += f"to {losses[index]:.2%}"
        loss = losses[index] if place == 0 else evaluate([*forced, *kept])
        if loss <= max_loss:
            break
    return kept


def _labels(run: Run, feeds: Sequence[Feed]) -> Labels:
    """(feeds, h, w); -1 where a logit is not a number, which agrees with no label."""
    labels = []
    for feed in feeds:
        logits = run(feed)[0]
        labels.append(np.where(np.isfinite(logits).all(axis=0), logits.argmax(axis=0), -1))
    return np.stack(labels)


def _disagreement(found: Labels, reference: Labels) -> float:
    return float((found != reference).mean())
