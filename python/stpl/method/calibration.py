"""Input calibration: a monotone tone curve, chosen without labels by what the source model says of the frames.

The curve becomes a look-up table of the runtime's preprocessing and costs nothing there. The identity is always a
candidate.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config
from stpl.method.batch_norm import batch_norm_layers, reestimate_batch_norm

Lut = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
Criterion = Literal["entropy", "information", "nuclear_norm", "batch_statistics"]


class CalibrationConfig(Config):
    enabled: bool = True
    criterion: Criterion = "information"
    gammas: tuple[float, ...] = (1.5, 1.25, 1.0, 0.85, 0.7, 0.6, 0.5, 0.4)
    """Candidates; below 1 brightens. 1 is added where it is missing."""
    frames: int = Field(24, ge=1)
    """Frames looked at, spread evenly over the video."""


@dataclass(frozen=True)
class Scores:
    """What the source model says of the frames under one curve, without any label.

    Attributes:
        entropy: mean entropy of the predictions in nats; lower is better.
        information: entropy of the mean prediction minus the mean entropy; higher is better (SHOT's objective).
        nuclear_norm: of a frame's (pixels x classes) predictions, over the square root of its pixels, mean over
            the frames; higher is better (Cui et al., CVPR 2020).
        batch_statistics: mean squared distance of the frames' channel means from the running means of the
            batch-norm layers, in standard deviations; lower is better; NaN without batch-norm.
    """

    gamma: float
    entropy: float
    information: float
    nuclear_norm: float
    batch_statistics: float

    def value(self, criterion: Criterion) -> float:
        """The criterion's score, turned so that higher is better."""
        value: float = getattr(self, criterion)
        return value if criterion in ("information", "nuclear_norm") else -value


def gamma_lut(gamma: float) -> Lut:
    """Look-up table ``round(255 (v / 255)^gamma)`` for all three channels; monotone, fixes 0 and 255."""
    curve = tuple(int(v) for v in (255.0 * torch.linspace(0, 1, 256, dtype=torch.float64) ** gamma).round())
    return (curve, curve, curve)


def candidates(config: CalibrationConfig) -> tuple[float, ...]:
    """The gammas tried; the identity is always among them."""
    return config.gammas if 1.0 in config.gammas else (1.0, *config.gammas)


def calibrate(
    model: nn.Module,
    frames: Callable[[Lut | None], Sequence[Tensor]],
    config: CalibrationConfig,
    *,
    batch_norm_blend: float = 0.0,
    progress: Callable[[], None] = lambda: None,
) -> tuple[float, list[Scores]]:
    """Scores every candidate gamma and picks the best; ties keep the identity.

    Args:
        model: the source model in evaluation mode; left as it is.
        frames: prepares the same frames under a look-up table; ``(1, 3, H, W)`` normalised tensors.
        batch_norm_blend: where the statistics are re-estimated afterwards, by how much: each candidate is then
            scored with statistics re-estimated on its own frames. Under a large shift the untouched model's own
            opinion of its predictions misleads; with its statistics in place it follows the accuracy.
        progress: called after each candidate.

    Returns:
        The gamma chosen and the scores of all candidates, in the order tried.
    """
    scores = []
    for gamma in candidates(config):
        images = frames(None if gamma == 1.0 else gamma_lut(gamma))
        judge = model
        if batch_norm_blend > 0:
            judge = copy.deepcopy(model)
            reestimate_batch_norm(judge, images, batch_norm_blend)
        scores.append(score(judge, images, gamma))
        progress()
    criterion = config.criterion
    if criterion == "batch_statistics" and not batch_norm_layers(model):
        criterion = "information"
    best = max(scores, key=lambda s: (s.value(criterion), s.gamma == 1.0))
    return best.gamma, scores


@torch.no_grad()
def score(model: nn.Module, frames: Sequence[Tensor], gamma: float) -> Scores:
    """The four criteria over ``frames``."""
    entropies, nuclear, means = [], [], []
    with _ChannelMeans(model) as statistics:
        for image in frames:
            probabilities = model(image).float().softmax(dim=1)[0].flatten(1).T
            entropies.append(_entropy(probabilities).mean())
            nuclear.append(torch.linalg.matrix_norm(probabilities, ord="nuc") / probabilities.shape[0] ** 0.5)
            means.append(probabilities.mean(dim=0))
        divergence = statistics.divergence()
    entropy = torch.stack(entropies).mean()
    marginal = _entropy(torch.stack(means).mean(dim=0)[None])[0]
    return Scores(gamma, float(entropy), float(marginal - entropy), float(torch.stack(nuclear).mean()), divergence)


def scores_as_dicts(scores: Sequence[Scores]) -> list[dict[str, float]]:
    """For the metrics file and the report."""
    return [asdict(s) for s in scores]


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * probabilities.clamp_min(1e-12).log()).sum(dim=1)


class _ChannelMeans:
    """Collects the input of every batch-norm layer, as channel means, while the context lasts."""

    def __init__(self, model: nn.Module) -> None:
        self._layers = batch_norm_layers(model)
        self._sums: list[Tensor | None] = [None] * len(self._layers)
        self._count = [0] * len(self._layers)

    def __enter__(self) -> _ChannelMeans:
        self._handles = [
            layer.register_forward_pre_hook(lambda _, inputs, i=i: self._add(i, inputs[0]))
            for i, layer in enumerate(self._layers)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _add(self, i: int, x: Tensor) -> None:
        mean = x.mean(dim=(0, 2, 3))
        known = self._sums[i]
        self._sums[i] = mean if known is None else known + mean
        self._count[i] += 1

    def divergence(self) -> float:
        parts = []
        for layer, total, count in zip(self._layers, self._sums, self._count, strict=True):
            if total is None or layer.running_mean is None or layer.running_var is None:
                continue
            distance = (total / count - layer.running_mean) ** 2 / (layer.running_var + layer.eps)
            parts.append(distance.mean())
        return float(torch.stack(parts).mean()) if parts else float("nan")
