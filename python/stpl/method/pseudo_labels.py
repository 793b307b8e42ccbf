"""Pseudo-labels: the teacher's classes where it is sure enough, with a threshold for each class.

Class-balanced confidence follows Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training", ECCV 2018: the surest share of each class is kept, so that rare classes, of which a
model is rarely sure, are not starved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config
from stpl.data.classes import IGNORE_ID


class PseudoLabelConfig(Config):
    threshold: float = Field(0.9, ge=0, le=1)
    """A pixel at least this sure is always kept."""
    share: float = Field(0.5, gt=0, le=1)
    """Of each class, at least about this share of pixels is kept, the surest first."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of the running thresholds of the classes."""


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
        confidence, labels = logits.float().softmax(dim=1).max(dim=1)
        if update:
            self._update(confidence, labels)
        sure = labels.masked_fill(confidence < self.thresholds[labels], IGNORE_ID)
        return PseudoLabels(sure, confidence)

    def _update(self, confidence: Tensor, labels: Tensor) -> None:
        for class_id in labels.unique().tolist():
            quantile = torch.quantile(confidence[labels == class_id], 1.0 - self.config.share)
            wanted = quantile.clamp(max=self.config.threshold)
            self.thresholds[class_id].lerp_(wanted, 1.0 - self.config.momentum)
