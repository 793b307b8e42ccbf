"""The guard: judges every snapshot of an adaptation without labels, and keeps a run from making a model worse.

A model that trains on its own labels grows surer and more consistent whether it gets better or worse, so entropy,
information, nuclear norm and consistency under flips, scales or flow tell nothing. The guard asks what no objective
of ours optimises:

pace
    How much of its labelling the model keeps from one accepted snapshot to the next, against how much it keeps when
    only a frame's side and light change. Training that helps moves slower than that; training that destroys a model
    leaps first and looks calm afterwards.
trust
    How far the model still says what the model it started from was sure of, averaged over flips and tone curves. It
    ends a slow drift.
content
    How much light and dark there is in the video's frames, and how much its features vary beside what the network's
    batch statistics know. A covered lens or a wall teaches nothing, however long it is watched.

A snapshot that leaps is taken back and training goes on from the last accepted one at a lower rate; one that has
drifted ends the training. Where nothing is accepted, the model that training started from is the result. The
measurements behind the thresholds are in BENCHMARKS.md ("The guard on …").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config, Gamma
from stpl.method.batch_norm import batch_norm_layers

Action = Literal["accept", "roll back", "stop"]
SUREST = 0.1
"""Share of the pixels on which trust is measured at least, however unsure the ensemble is."""
SMALLEST_MAP = 16
"""Positions of a feature map below which its variance over space says nothing: pooled context, say."""


class GuardConfig(Config):
    """When a snapshot is refused."""

    mode: Literal["off", "observe", "act"] = "act"
    """``observe`` judges and selects, but never takes training back nor ends it."""
    frames: int = Field(24, ge=1)
    """Frames judged on, spread evenly over the video."""
    least_frames: int = Field(32, ge=2)
    """Of a video, to train on it at all: fewer are learnt by heart, which no look at those frames can tell."""
    gammas: tuple[Gamma, ...] = Field((1.0, 0.85, 1.2), min_length=1)
    """Tone curves of the starting model's ensemble, each with and without a horizontal flip."""
    pace: float = Field(1.0, ge=0)
    """Least agreement with the last accepted snapshot, relative to the starting model's agreement with itself."""
    trust: float = Field(0.8, ge=0, le=1)
    """Least agreement with the starting ensemble where it is sure."""
    sure: float = Field(0.9, ge=0, le=1)
    """Confidence from which the ensemble counts as sure."""
    content: float = Field(0.28, ge=0)
    """Least variance of the video's features, relative to the network's batch statistics."""
    contrast: float = Field(0.12, ge=0)
    """Least contrast of the video's frames."""
    rollbacks: int = Field(3, ge=0)
    """Times that training is taken back; then it ends."""
    rate_factor: float = Field(0.3, gt=0, le=1)
    """The learning rate is multiplied by this at each roll-back."""


@dataclass(frozen=True)
class Verdict:
    """What the guard says of one snapshot.

    Attributes:
        step: steps done when it was taken.
        pace: agreement with the last accepted snapshot over ``self_agreement``; about 1.2 in calm training.
        trust: mean IoU with the starting ensemble's labels where that is sure, 0 to 1.
        lost: classes that the ensemble is sure of and the snapshot no longer sees.
        action: what follows from it.
        reason: in words.
    """

    step: int
    pace: float
    trust: float
    lost: tuple[int, ...]
    action: Action
    reason: str

    @property
    def accepted(self) -> bool:
        return self.action == "accept"


class Guard(nn.Module):
    """Judges the snapshots of one run; a module so that its state is saved and resumed with the run.

    Args:
        config: thresholds.
        start: the model that training starts from, in evaluation mode.
        probes: prepares the same frames under a tone curve, given its gamma: ``(1, 3, H, W)`` normalised tensors.
        num_classes: C of its logits.
    """

    accepted_labels: Tensor
    accepted_step: Tensor
    rolled_back: Tensor
    rate_scale: Tensor
    stopped: Tensor

    def __init__(
        self,
        config: GuardConfig,
        start: nn.Module,
        probes: Callable[[float], Sequence[Tensor]],
        num_classes: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self._frames = list(probes(1.0))
        views = [self._frames if gamma == 1.0 else probes(gamma) for gamma in config.gammas]
        confidence, self._reference = _ensemble(start, views)
        self._sure = _surest(confidence, config.sure)
        self._sure_classes = _frequent(self._reference[self._sure], num_classes)
        labels, _ = self._look(start)
        self._judged = labels
        self.self_agreement = agreement(self._reference, labels, num_classes)
        self.register_buffer("accepted_labels", labels)
        self.register_buffer("accepted_step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("rolled_back", torch.zeros((), dtype=torch.int64))
        self.register_buffer("rate_scale", torch.ones(()))
        self.register_buffer("stopped", torch.zeros((), dtype=torch.bool))

    def describe(self) -> dict[str, Any]:
        """What snapshots are measured against, for the log."""
        return {
            "pace_floor": self.config.pace,
            "trust_floor": self.config.trust,
            "self_agreement": self.self_agreement,
            "sure_share": float(self._sure.float().mean()),
            "sure_classes": self._sure_classes,
            "frames": len(self._frames),
        }

    def judge(self, step: int, model: nn.Module) -> Verdict:
        """What to do about ``model`` after ``step`` steps; :meth:`follow` does it."""
        labels, finite = self._look(model)
        self._judged = labels
        pace = agreement(self.accepted_labels, labels, self.num_classes) / max(self.self_agreement, 1e-6)
        trust = agreement(self._reference[self._sure], labels[self._sure], self.num_classes)
        lost = self._lost_classes(labels)
        action, reason = self._decide(pace, trust, lost, finite)
        return Verdict(step, pace, trust, lost, action, reason)

    def follow(self, verdict: Verdict) -> None:
        """Remembers the model judged last where the verdict accepts it, and that training is taken back where not."""
        if verdict.accepted:
            self.accepted_labels.copy_(self._judged)
            self.accepted_step.fill_(verdict.step)
        elif verdict.action == "stop":
            self.stopped.fill_(True)
        elif self.config.mode == "act":
            self.rolled_back += 1
            self.rate_scale *= self.config.rate_factor

    def _decide(self, pace: float, trust: float, lost: tuple[int, ...], finite: bool) -> tuple[Action, str]:
        config = self.config
        if bool(self.stopped):  # only where the guard observes: training went on
            return "stop", "an earlier snapshot had ended the training"
        leap: Action = "roll back" if int(self.rolled_back) < config.rollbacks else "stop"
        if not finite:
            return leap, "its scores are not finite (NaN or infinite)"
        if pace < config.pace:
            return leap, f"its labels leapt: pace {pace:.2f} is below {config.pace:g}"
        if lost:
            return leap, f"it lost {len(lost)} of {len(self._sure_classes)} classes that the start was sure of"
        if trust < config.trust:
            return (
                "stop",
                f"it drifted from what the start was sure of: trust {trust:.3f} is below {config.trust:g}",
            )
        return "accept", f"pace {pace:.2f}, trust {trust:.3f}"

    def _look(self, model: nn.Module) -> tuple[Tensor, bool]:
        """The model's labels of all frames, and whether its scores are numbers: the labels of NaN are all class 0."""
        model.eval()  # a student may come with its dropout on
        labels, finite = [], True
        with torch.no_grad():
            for frame in self._frames:
                logits = model(frame)
                labels.append(logits.argmax(dim=1).to(torch.uint8))
                finite = finite and bool(logits.isfinite().all())
        return torch.cat(labels), finite

    def _lost_classes(self, labels: Tensor) -> tuple[int, ...]:
        lost = []
        for class_id in self._sure_classes:
            was = (self._reference == class_id) & self._sure
            if (labels[was] == class_id).float().mean() < 0.1:
                lost.append(class_id)
        return tuple(lost)


@torch.no_grad()
def video_content(model: nn.Module, frames: Iterable[Tensor]) -> float | None:
    """How much a video varies within its frames, beside what the network's batch statistics know.

    The median over the batch-norm layers of the variance of their input within a frame over their running variance,
    each a geometric mean over channels. About 0.4 to 1 for street video of any light, below 0.2 for a black or
    uniform picture.

    Args:
        model: the source model with its own statistics; left as it is.
        frames: ``(1, 3, H, W)`` normalised tensors.

    Returns:
        None for networks without batch-norm, or with none on maps of 16 positions and more.
    """
    layers = batch_norm_layers(model)
    if not layers:
        return None
    sums: list[Tensor | float] = [0.0] * len(layers)

    def collect(i: int, x: Tensor) -> None:
        if x.dim() == 4 and x.shape[2] * x.shape[3] >= SMALLEST_MAP:
            sums[i] = sums[i] + x.float().var(dim=(2, 3)).mean(dim=0)

    count = 0
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, i=i: collect(i, inputs[0])) for i, layer in enumerate(layers)
    ]
    try:
        for frame in frames:
            model(frame)
            count += 1
    finally:
        for handle in handles:
            handle.remove()
    ratios = []
    for layer, total in zip(layers, sums, strict=True):
        assert layer.running_var is not None
        if isinstance(total, Tensor):
            ratio = total / count / (layer.running_var + layer.eps)
            ratios.append(ratio.clamp_min(1e-9).log().mean().exp())
    return float(torch.stack(ratios).median()) if ratios else None


def video_contrast(luma: Sequence[NDArray[np.uint8]]) -> float:
    """How much a video's frames vary from place to place, beside how bright they are: standard deviation over mean.

    On a grid of 20x15 cells, each a mean, that texture and noise do not count: 0.2 (fog, snow) to 0.6 (dusk) on
    generated streets, 0.05 to 0.07 on a piece of the development streets' road, 0 in the dark.

    Args:
        luma: of each frame, small enough that a pixel is a part of the scene.
    """
    frames = [frame.astype(np.float64) for frame in luma]
    return float(np.mean([frame.std() / (frame.mean() + 1.0) for frame in frames]))


def agreement(reference: Tensor, labels: Tensor, num_classes: int) -> float:
    """Mean IoU, 0 to 1, of ``labels`` against ``reference`` (both of any one shape) over the classes of the latter."""
    pairs = reference.flatten().long() * num_classes + labels.flatten().long()
    confusion = torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes).double()
    present = confusion.sum(dim=1) > 0
    both = confusion.diag()
    either = confusion.sum(dim=0) + confusion.sum(dim=1) - both
    return float((both[present] / either[present]).mean()) if bool(present.any()) else 0.0


def verdict_as_dict(verdict: Verdict) -> dict[str, Any]:
    """For the metrics file and the report."""
    return {**vars(verdict), "lost": list(verdict.lost)}


def verdict_from_dict(values: dict[str, Any]) -> Verdict:
    """The reverse of :func:`verdict_as_dict`."""
    return Verdict(**{**values, "lost": tuple(values["lost"])})


@torch.no_grad()
def _ensemble(model: nn.Module, views: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """Confidence and labels ``(frames, h, w)`` of the mean over tone curves and horizontal flips, frame by frame."""
    confidence, labels = [], []
    for frames in zip(*views, strict=True):
        total: Tensor | float = 0.0
        for frame in frames:
            total = total + model(frame).float().softmax(dim=1)
            total = total + model(frame.flip(3)).float().softmax(dim=1).flip(3)
        assert isinstance(total, Tensor)
        surest = (total / (2 * len(views))).max(dim=1)
        confidence.append(surest.values)
        labels.append(surest.indices.to(torch.uint8))
    return torch.cat(confidence), torch.cat(labels)


def _surest(confidence: Tensor, threshold: float) -> Tensor:
    """Where the ensemble counts as sure: above the threshold, or, where that is too little, its surest pixels."""
    sure = confidence > threshold
    if float(sure.float().mean()) < SUREST:
        place = max(1, round((1 - SUREST) * confidence.numel()))
        sure = confidence >= confidence.flatten().kthvalue(place).values
    return sure


def _frequent(labels: Tensor, num_classes: int, share: float = 0.005) -> list[int]:
    counts = torch.bincount(labels.flatten().long(), minlength=num_classes)
    return [c for c in range(num_classes) if counts[c] > share * labels.numel()]
