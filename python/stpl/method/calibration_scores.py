"""What a model says of frames under one tone curve, in numbers that need no label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stpl.method.batch_norm import batch_norm_layers
from stpl.method.tone_curves import ToneCurve

LABELS_PER_FRAME = 20_000
"""Labels are thinned out to about as many a frame: agreement needs no more, and all curves' are kept."""


@dataclass(frozen=True)
class Scores:
    """What the model says of the frames under one curve, without any label.

    Attributes:
        entropy: mean entropy of the predictions in nats; lower is better.
        information: entropy of the mean prediction minus the mean entropy, in nats; higher is better (SHOT's
            objective; Liang et al., ICML 2020).
        nuclear_norm: of a frame's (pixels x classes) predictions, over the square root of its pixels, mean over
            the frames; higher is better (Cui et al., CVPR 2020).
        batch_statistics: mean squared distance of the frames' channel means from the running means of the
            batch-norm layers, in standard deviations; lower is better; NaN without batch-norm.
        agreement: of the labels with those under all curves, mIoU 0..1; higher is better; NaN until all are known.
    """

    curve: ToneCurve
    entropy: float
    information: float
    nuclear_norm: float
    batch_statistics: float
    agreement: float = math.nan

    def value(self, criterion: str) -> float:
        """The criterion's score, turned so that higher is better."""
        value: float = getattr(self, criterion)
        return -value if criterion in ("entropy", "batch_statistics") else value

    def as_dict(self) -> dict[str, float | str | list[float]]:
        """For JSON."""
        return {
            "curve": self.curve.name,
            "gamma": self.curve.gamma,
            "channels": list(self.curve.channels),
            "entropy": self.entropy,
            "information": self.information,
            "nuclear_norm": self.nuclear_norm,
            "batch_statistics": self.batch_statistics,
            "agreement": self.agreement,
        }


@dataclass(frozen=True)
class Judgement:
    """Scores under one curve, and the labels to compare with those under others.

    Attributes:
        labels: ``(M,)`` int16 class ids, the same pixels under all curves.
    """

    scores: Scores
    labels: Tensor


@torch.no_grad()
def judge(model: nn.Module, frames: Sequence[Tensor], curve: ToneCurve) -> Judgement:
    """The scores of ``frames``, normalised ``(1, 3, H, W)`` tensors that went through ``curve``; agreement is open."""
    entropies, nuclear, means, labels = [], [], [], []
    with _ChannelMeans(model) as statistics:
        for image in frames:
            logits = model(image).float()[0].flatten(1).T
            probabilities = logits.softmax(dim=1)
            entropies.append(_entropy(probabilities).mean())
            nuclear.append(_nuclear_norm(probabilities))
            means.append(probabilities.mean(dim=0))
            every = max(1, logits.shape[0] // LABELS_PER_FRAME)
            labels.append(logits[::every].argmax(dim=1).to(torch.int16).cpu())
        divergence = statistics.divergence()
    entropy = torch.stack(entropies).mean()
    marginal = _entropy(torch.stack(means).mean(dim=0)[None])[0]
    norm = float(torch.stack(nuclear).mean())
    return Judgement(Scores(curve, float(entropy), float(marginal - entropy), norm, divergence), torch.cat(labels))


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * probabilities.clamp_min(1e-12).log()).sum(dim=1)


def _nuclear_norm(probabilities: Tensor) -> Tensor:
    """Over the square root of the pixels; through the (classes x classes) Gram matrix, in time linear in the pixels."""
    p = probabilities.double()
    norm: Tensor = torch.linalg.eigvalsh(p.T @ p).clamp_min(0).sqrt().sum()
    return norm / math.sqrt(p.shape[0])


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
        mean = x.mean(dim=(0, *range(2, x.dim())))
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
