"""Whether PyTorch, ONNX Runtime and the runtime's own engine say the same of the same frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

import stpl_rt
from stpl.data.dataset import Image
from stpl.export.network_precision import precision_of
from stpl.export.onnx_session import open_session

Logits = NDArray[np.float32]
"""(C, h, w)"""

MIN_AGREEMENT = 0.9999
"""Share of the pixels that must get PyTorch's label for an f32 export to be written."""


class ParityError(RuntimeError):
    """An exported network that does not say what the checkpoint says."""


@dataclass
class EngineParity:
    """One engine against PyTorch.

    Attributes:
        engine: its name.
        largest_difference: of any logit of any frame; infinite where a logit is not finite.
        pixels: compared, at the frames' resolution.
        agreeing: of them, those with the same label.
    """

    engine: str
    largest_difference: float = 0.0
    pixels: int = 0
    agreeing: int = 0

    @property
    def agreement(self) -> float:
        """Share of the pixels with the same label, 0 to 1."""
        return self.agreeing / self.pixels if self.pixels else 0.0

    def update(self, expected: Logits, found: Logits, expected_labels: Image, found_labels: Image) -> None:
        """Counts one frame."""
        difference = np.abs(found.astype(np.float64) - expected)
        finite = bool(np.isfinite(found).all() and np.isfinite(expected).all())
        self.largest_difference = max(self.largest_difference, float(difference.max()) if finite else float("inf"))
        self.pixels += expected_labels.size
        self.agreeing += int((expected_labels == found_labels).sum())


@dataclass(frozen=True)
class Parity:
    """All engines against PyTorch, over ``frames`` frames."""

    frames: int
    engines: list[EngineParity] = field(default_factory=list)

    def require(self, agreement: float = MIN_AGREEMENT) -> None:
        """Raises ParityError where an engine agrees on fewer pixels, or gives a logit that is not finite."""
        for engine in self.engines:
            if not np.isfinite(engine.largest_difference):
                raise ParityError(f"parity: expected finite logits; {engine.engine} or PyTorch gives nan or infinity")
            if engine.agreement < agreement:
                raise ParityError(
                    f"parity: expected {engine.engine} to give PyTorch's label on {100 * agreement:.2f} % of the "
                    f"pixels; found {100 * engine.agreement:.4f} % (largest logit difference "
                    f"{engine.largest_difference:.3g}); nothing was written"
                )

    def to_dict(self) -> dict[str, object]:
        """For JSON: the largest logit difference and the label agreement of each engine."""
        engines = {
            engine.engine: {"largest_difference": engine.largest_difference, "agreement": engine.agreement}
            for engine in self.engines
        }
        return {"frames": self.frames, **engines}


def measure_parity(model: nn.Module, bundle: Path, frames: Sequence[Image]) -> Parity:
    """Runs the same prepared frames through the three, and compares logits and labels.

    Labels are compared at the resolution of the frames, all three sampled by the runtime's own kernel: what differs
    is the network alone. Preparation is that of the bundle's manifest.

    Args:
        model: what was exported, in evaluation mode.
        bundle: the folder with ``manifest.json`` and ``segment.onnx``.
        frames: each uint8 (H, W, 3) RGB; at least one.
    """
    if not frames:
        raise ValueError("parity: expected at least one frame, found none")
    network = stpl_rt.Network(bundle)
    manifest = network.bundle
    candidates: dict[str, Callable[[Logits], Logits]] = {"stpl_rt": network}
    if precision_of(onnx.load(manifest.segment.file)) != "bf16":  # for which ONNX Runtime has no layers on a CPU
        candidates = {"ONNX Runtime": _onnx_runtime(manifest.segment.file), **candidates}
    results = [EngineParity(name) for name in candidates]
    for frame in frames:
        prepared = stpl_rt.preprocess(frame, manifest.input)
        with torch.no_grad():
            expected = model(torch.from_numpy(prepared)[None])[0].float().numpy()
        labels = _labels(expected, frame, manifest)
        for result, run in zip(results, candidates.values(), strict=True):
            found = run(prepared)
            result.update(expected, found, labels, _labels(found, frame, manifest))
    return Parity(len(frames), results)


def _labels(logits: Logits, frame: Image, manifest: stpl_rt.Bundle) -> Image:
    size = (manifest.input.height, manifest.input.width)
    shape = frame.shape[:2] if manifest.input.resize == "stretch" else size  # letterboxed logits: on their own grid
    labels: Image = stpl_rt.sample_argmax(
        np.ascontiguousarray(logits),
        (shape[0], shape[1]),
        align_corners=manifest.logits.align_corners,
        input_size=size,
    )
    return labels


def _onnx_runtime(file: str | Path) -> Callable[[Logits], Logits]:
    session = open_session(file)
    name = session.get_inputs()[0].name

    def run(prepared: Logits) -> Logits:
        logits: Logits = session.run(None, {name: prepared[None]})[0][0]
        return logits

    return run
