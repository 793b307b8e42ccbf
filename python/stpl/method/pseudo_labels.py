"""Pseudo-labels: the teacher's classes where it is sure enough, by one threshold or by one for each class.

Class-balanced confidence follows Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training", ECCV 2018: the surest share of each class is kept, so that rare classes, of which a
model is rarely sure, are not starved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config
from stpl.data.classes import IGNORE_ID
from stpl.method.reduction import all_reduce_sum
from stpl.models.warp import resize_flow, warp

_BINS = 1000
"""Of the histograms of confidence that thresholds are read from: a threshold is exact to a thousandth."""


class PseudoLabelConfig(Config):
    selection: Literal["class-balanced", "fixed", "all"] = "class-balanced"
    """Which pixels are kept: by a running threshold of each class, by ``threshold`` alone, or all of them."""
    threshold: float = Field(0.9, ge=0, le=1)
    """A pixel at least this sure is always kept."""
    share: float = Field(0.5, gt=0, le=1)
    """Of each class, at least about this share of pixels is kept, the surest first (class-balanced)."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of the running thresholds of the classes."""
    teacher: Literal["ema", "frozen"] = "ema"
    """Who labels: the moving average of the student, or the model that training started from."""
    flow_consistent: bool = False
    """Keep only pixels whose label the teacher also gives to the same point of frame t-1, along the flow."""
    cross_frame: bool = False
    """Take frame t's labels from frame t-1, along the flow (TPS, Xing et al., ECCV 2022)."""


@dataclass(frozen=True)
class PseudoLabels:
    """Attributes:
    sure: ``(N, h, w)`` int64, class ids, :data:`IGNORE_ID` where the teacher is not sure.
    confidence: ``(N, h, w)`` float32, the softmax maximum.
    """

    sure: Tensor
    confidence: Tensor


class PseudoLabeller(nn.Module):
    """Keeps one running confidence threshold a class (a buffer, so it is saved and resumed)."""

    thresholds: Tensor

    def __init__(self, config: PseudoLabelConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("thresholds", torch.full((num_classes,), config.threshold))

    @torch.no_grad()
    def forward(self, logits: Tensor, update: bool = True) -> PseudoLabels:
        """Raw logits ``(N, C, h, w)`` of the clean frames to pseudo-labels; ``update`` moves the thresholds."""
        return self.of_probabilities(logits.float().softmax(dim=1), update)

    @torch.no_grad()
    def of_probabilities(
        self, probabilities: Tensor, update: bool = True, inside: Tensor | None = None
    ) -> PseudoLabels:
        """The same of class probabilities ``(N, C, h, w)``; pixels not ``inside`` ``(N, h, w)`` get no label."""
        confidence, labels = probabilities.max(dim=1)
        counted = torch.ones_like(labels, dtype=torch.bool) if inside is None else inside
        if update and self.config.selection == "class-balanced":
            self._update(confidence, labels, counted)
        if self.config.selection != "all":
            counted = counted & (confidence >= self.thresholds[labels])
        return PseudoLabels(labels.masked_fill(~counted, IGNORE_ID), confidence)

    def _update(self, confidence: Tensor, labels: Tensor, counted: Tensor) -> None:
        """Moves each present class's threshold towards what keeps its share, over the batch of all processes."""
        classes = self.thresholds.numel()
        bins = (confidence * _BINS).long().clamp(0, _BINS - 1)
        # Sums into fixed places: bincount and a selection of the counted pixels would make the host wait for a GPU.
        flat = torch.zeros(classes * _BINS, dtype=torch.int64, device=labels.device)
        flat.scatter_add_(0, (labels * _BINS + bins).flatten(), counted.flatten().long())
        histogram = all_reduce_sum(flat.view(classes, _BINS))
        at_least = histogram.flip(1).cumsum(1).flip(1)  # pixels at least as sure as each bin's lower edge
        total = at_least[:, 0]
        highest = (at_least >= self.config.share * total[:, None]).sum(dim=1) - 1
        wanted = (highest / _BINS).clamp(max=self.config.threshold)
        moved = self.thresholds.lerp(wanted, 1.0 - self.config.momentum)
        self.thresholds.copy_(torch.where(total > 0, moved, self.thresholds))


@torch.no_grad()
def brought_along(past: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Class probabilities of frame t-1 where frame t shows the same point, and where there is one.

    Args:
        past: ``(N, C, h, w)`` probabilities of frame t-1.
        flow: ``(N, 2, H, W)`` of t into t-1, in pixels of its own grid.

    Returns:
        ``(N, C, h, w)`` probabilities on frame t's grid, and ``(N, h, w)`` bool, false where the flow leaves the
        picture.
    """
    height, width = past.shape[-2:]
    own = resize_flow(flow, height, width)
    x = torch.arange(width, device=own.device) + own[:, 0]
    y = torch.arange(height, device=own.device)[:, None] + own[:, 1]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return warp(past, flow), inside


def only_where_agreed(labels: Tensor, past: Tensor, flow: Tensor) -> Tensor:
    """``labels`` ``(N, h, w)`` with :data:`IGNORE_ID` where frame t-1's ``past`` probabilities say another class."""
    warped, inside = brought_along(past, flow)
    return labels.masked_fill((warped.argmax(dim=1) != labels) | ~inside, IGNORE_ID)
