"""STPL: self-training plus spatio-temporal pixel-level contrast, and the paper's ablations of it.

Source: S.-Y. Lo et al., CVPR 2023, from the authors' poster and slides; the code was never released. What each
contrast holds against what, q the anchors and k the keys, all of frame t and projected by H:

    duplicate          q: z_t               k: z_t, the augmentation left out of the second view
    spatial            q: z_t               k: z~_t
    temporal           q: z_t               k: z_{t-1}, neither augmented
    spatial+temporal   both losses added
    stpl               q: z_(t-1,t)         k: z~_(t-1,t), each fused by F along the flow

"Duplicate" is named on the poster and not defined; this is our reading of it. An anchor may find its own pixel among
its positives there, as it may find its own place in the other view everywhere else.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.profiler import record_function

from stpl.config import Config
from stpl.method.contrast import Denominator, contrast_loss
from stpl.method.objective import Objective
from stpl.method.objectives.self_training import SelfTraining, SelfTrainingTerms
from stpl.method.reduction import batch_mean
from stpl.method.sampling import Sample, sample_pixels
from stpl.method.views import Views
from stpl.models.fusion import Fusion, FusionKind
from stpl.models.projection import ProjectionHead
from stpl.models.protocol import SegmentationModel
from stpl.models.warp import gather_pixels

ContrastKind = Literal["duplicate", "spatial", "temporal", "spatial+temporal", "stpl"]


class ContrastConfig(Config):
    weight: float = Field(0.5, ge=0)
    """Lambda: weight of the contrast beside self-training."""
    temperature: float = Field(0.1, gt=0)
    denominator: Denominator = "infonce"
    fusion: FusionKind = "addition"
    flow: Literal["estimated", "zero"] = "estimated"
    """What the past is fused along; ``"zero"`` is a control: the past frame as it lies."""
    anchors: int = Field(256, ge=1)
    """Budget an image, split evenly over the classes present."""
    keys: int = Field(512, ge=1)
    """Budget an image, likewise."""
    projection_dim: int = Field(64, ge=2)
    clean_branch: Literal["student", "teacher"] = "teacher"
    """Who encodes the clean frames: the student, gradients through both branches, or the EMA teacher, without."""
    past_gradient: bool = False
    """Whether gradients flow into the student's encoding of frame t-1."""


class Stpl(Objective):
    """L = L_self-training + weight * L_contrast.

    Pseudo-labels come from the decoder on the clean frame t and index both views. The decoder sees z_t alone.
    Features are fused and projected only where pixels were drawn.
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

    @property
    def teacher_frozen(self) -> bool:
        return self.self_training.teacher_frozen

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
        of_teacher = self.config.clean_branch == "teacher"
        present = terms.teacher_features if of_teacher else student.features(views.present)
        if self.kind == "stpl":
            past = _frozen(teacher, views.past) if of_teacher else self._past(views.past, student)
            past_augmented = self._past(views.past_augmented, student)
            return self._fused(views, labels, (past, present), (past_augmented, terms.augmented_features))
        if self.kind == "duplicate":
            return self._between(views, present, labels, student.features(views.present) if of_teacher else present)
        total = present.new_zeros(())
        if "spatial" in self.kind:
            total = total + self._between(views, present, labels, terms.augmented_features)
        if "temporal" in self.kind:
            teacher_past = _frozen(teacher, views.past)
            with torch.no_grad():
                past_labels = self.self_training.labeller(teacher.logits(teacher_past), update=False).sure
            past = teacher_past if of_teacher else self._past(views.past, student)
            # Both frames by the teacher, nothing would learn: the anchors then come from the student.
            anchors = student.features(views.present) if of_teacher else present
            total = total + self._between(views, anchors, labels, past, past_labels)
        return total

    def _past(self, images: Tensor, student: SegmentationModel) -> Tensor:
        with torch.set_grad_enabled(self.config.past_gradient and torch.is_grad_enabled()):
            return student.features(images)

    def _fused(
        self, views: Views, labels: Tensor, clean: tuple[Tensor, Tensor], augmented: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The contrast between the fused views; ``clean`` and ``augmented`` are the features of (t-1, t)."""
        assert self.fusion is not None
        flow = views.flow if self.config.flow == "estimated" else torch.zeros_like(views.flow)
        q, k = self._samples(views, labels, labels, clean[1].shape[-2:])
        with record_function("stpl/fusion"):
            anchors = self.fusion(*clean, flow, q.at)
            keys = self.fusion(*augmented, flow, k.at)
        return self._loss(anchors, q, keys, k)

    def _between(
        self, views: Views, anchors: Tensor, labels: Tensor, keys: Tensor, key_labels: Tensor | None = None
    ) -> Tensor:
        """The contrast between two maps of features; the keys have the anchors' labels unless others are given."""
        q, k = self._samples(views, labels, labels if key_labels is None else key_labels, anchors.shape[-2:])
        return self._loss(gather_pixels(anchors, q.at), q, gather_pixels(keys, k.at), k)

    def _samples(
        self, views: Views, anchor_labels: Tensor, key_labels: Tensor, size: torch.Size
    ) -> tuple[Sample, Sample]:
        with record_function("stpl/sampling"):
            q = sample_pixels(_labels_at(anchor_labels, size), self.config.anchors, views.uniform(*size))
            k = sample_pixels(_labels_at(key_labels, size), self.config.keys, views.uniform(*size))
            return q, k

    def _loss(self, anchors: Tensor, q: Sample, keys: Tensor, k: Sample) -> Tensor:
        """Mean L_q over the anchors of the batch; anchors and keys of one frame pair only meet each other.

        Args:
            anchors, keys: features ``(N, A, C)`` and ``(N, K, C)`` of the pixels ``q`` and ``k``.
        """
        with record_function("stpl/contrast"):
            total, count = contrast_loss(
                self.projection(anchors),
                q.labels,
                self.projection(keys),
                k.labels,
                self.config.temperature,
                self.config.denominator,
            )
            return batch_mean(total, count)


@torch.no_grad()
def _frozen(teacher: SegmentationModel, images: Tensor) -> Tensor:
    return teacher.features(images)


def _labels_at(labels: Tensor, size: torch.Size) -> Tensor:
    if labels.shape[-2:] == size:
        return labels
    return F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
