"""STPL: self-training plus spatio-temporal pixel-level contrast, and the paper's ablations of it.

Source: S.-Y. Lo et al., CVPR 2023, from the authors' poster and slides; the code was never released. What each
contrast holds against what, q the anchors and k the keys, all of frame t and projected by H:

    spatial            q: z_t               k: z~_t
    temporal           q: z_t               k: z_{t-1}, neither augmented
    spatial+temporal   both losses added
    stpl               q: z_(t-1,t)         k: z~_(t-1,t), each fused by F along the flow
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from stpl.config import Config
from stpl.method.contrast import Denominator, contrast_loss, sample_pixels
from stpl.method.objective import Objective
from stpl.method.objectives.self_training import SelfTraining, SelfTrainingTerms
from stpl.method.views import Views
from stpl.models.fusion import Fusion, FusionKind
from stpl.models.projection import ProjectionHead
from stpl.models.protocol import SegmentationModel

ContrastKind = Literal["spatial", "temporal", "spatial+temporal", "stpl"]


class ContrastConfig(Config):
    weight: float = Field(0.5, ge=0)
    """Lambda: weight of the contrast beside self-training."""
    temperature: float = Field(0.1, gt=0)
    denominator: Denominator = "infonce"
    fusion: FusionKind = "1x1"
    anchors_per_class: int = Field(32, ge=1)
    keys_per_class: int = Field(64, ge=1)
    projection_dim: int = Field(64, ge=2)
    clean_branch: Literal["student", "teacher"] = "teacher"
    """Who encodes the clean frames: the student, gradients through both branches, or the EMA teacher, without."""
    past_gradient: bool = False
    """Whether gradients flow into the encoding of frame t-1."""


class Stpl(Objective):
    """L = L_self-training + weight * L_contrast.

    Pseudo-labels come from the decoder on the clean frame t and index both views. The decoder sees z_t alone.
    """

    def __init__(
        self, kind: ContrastKind, config: ContrastConfig, self_training: SelfTraining, feature_channels: int
    ) -> None:
        super().__init__()
        self.kind = kind
        self.config = config
        self.self_training = self_training
        self.fusion = Fusion(config.fusion, feature_channels) if kind == "stpl" else None
        channels = self.fusion.out_channels if self.fusion is not None else feature_channels
        self.projection = ProjectionHead(channels, config.projection_dim)

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        terms = self.self_training.terms(views, student, teacher)
        contrast = self._contrast(views, terms, student, teacher)
        return {
            "loss": terms.loss + self.config.weight * contrast,
            "loss_self_training": terms.loss.detach(),
            "loss_contrast": contrast.detach(),
        }

    def _contrast(
        self, views: Views, terms: SelfTrainingTerms, student: SegmentationModel, teacher: SegmentationModel
    ) -> Tensor:
        labels = terms.labels.sure
        present = self._clean(views.present, student, teacher, terms.teacher_features)
        if self.kind == "stpl":
            past = self._past(views.past, student, teacher, clean=True)
            past_augmented = self._past(views.past_augmented, student, teacher, clean=False)
            assert self.fusion is not None
            anchors = self.fusion(past, present, views.flow)
            keys = self.fusion(past_augmented, terms.augmented_features, views.flow)
            return self._between(anchors, labels, keys, labels)
        total = present.new_zeros(())
        if "spatial" in self.kind:
            total = total + self._between(present, labels, terms.augmented_features, labels)
        if "temporal" in self.kind:
            past = self._past(views.past, student, teacher, clean=True)
            with torch.no_grad():
                past_labels = self.self_training.labeller(teacher.logits(teacher.features(views.past)), update=False)
            # With a frozen clean branch nothing would learn: the anchors then come from the student.
            anchors = present if present.requires_grad else student.features(views.present)
            total = total + self._between(anchors, labels, past, past_labels.sure)
        return total

    def _clean(
        self, images: Tensor, student: SegmentationModel, teacher: SegmentationModel, known: Tensor | None = None
    ) -> Tensor:
        if self.config.clean_branch == "student":
            return student.features(images)
        if known is not None:
            return known
        with torch.no_grad():
            return teacher.features(images)

    def _past(self, images: Tensor, student: SegmentationModel, teacher: SegmentationModel, clean: bool) -> Tensor:
        with torch.set_grad_enabled(self.config.past_gradient and torch.is_grad_enabled()):
            return self._clean(images, student, teacher) if clean else student.features(images)

    def _between(self, anchors: Tensor, anchor_labels: Tensor, keys: Tensor, key_labels: Tensor) -> Tensor:
        """Mean L_q over the anchors of the batch; anchors and keys of one frame pair only meet each other."""
        size = anchors.shape[-2:]
        anchor_labels, key_labels = _labels_at(anchor_labels, size), _labels_at(key_labels, size)
        total, count = anchors.new_zeros(()), 0
        for n in range(anchors.shape[0]):
            q_at = sample_pixels(anchor_labels[n], self.config.anchors_per_class)
            k_at = sample_pixels(key_labels[n], self.config.keys_per_class)
            if q_at.numel() == 0 or k_at.numel() == 0:
                continue
            loss, used = contrast_loss(
                self.projection(anchors[n].flatten(1)[:, q_at].T),
                anchor_labels[n].flatten()[q_at],
                self.projection(keys[n].flatten(1)[:, k_at].T),
                key_labels[n].flatten()[k_at],
                self.config.temperature,
                self.config.denominator,
            )
            total, count = total + loss, count + used
        return total / max(count, 1)


def _labels_at(labels: Tensor, size: torch.Size) -> Tensor:
    if labels.shape[-2:] == size:
        return labels
    return F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
