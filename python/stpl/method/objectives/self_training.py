"""Self-training with a teacher: the baseline that STPL stands on.

The teacher (Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017) labels the clean frame;
the student learns those labels on the augmented one. Options: a frozen teacher, labels that must agree with the past
frame's along the flow, labels that come from the past frame (:mod:`stpl.method.pseudo_labels`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stpl.data.classes import IGNORE_ID
from stpl.method.objective import Objective
from stpl.method.pseudo_labels import PseudoLabeller, PseudoLabels, brought_along, only_where_agreed
from stpl.method.reduction import batch_mean
from stpl.method.views import Views
from stpl.models.protocol import SegmentationModel


@dataclass(frozen=True)
class SelfTrainingTerms:
    """The loss, and what the contrast builds on: the features it was computed from and the labels it used."""

    loss: Tensor
    labels: PseudoLabels
    teacher_features: Tensor
    augmented_features: Tensor


class SelfTraining(Objective):
    """Cross-entropy of the student on the augmented frame t against the teacher's labels of the clean one.

    Gradients reach the student alone; the teacher only follows it.
    """

    def __init__(self, labeller: PseudoLabeller) -> None:
        super().__init__()
        self.labeller = labeller

    @property
    def teacher_frozen(self) -> bool:
        return self.labeller.config.teacher == "frozen"

    def terms(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> SelfTrainingTerms:
        with torch.no_grad():
            teacher_features = teacher.features(views.present)
            labels = self._labels(views, teacher, teacher_features)
        augmented = student.features(views.present_augmented)
        loss = labels_loss(student.logits(augmented), labels.sure)
        return SelfTrainingTerms(loss, labels, teacher_features, augmented)

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        loss = self.terms(views, student, teacher).loss
        return {"loss": loss, "loss_self_training": loss.detach()}

    def _labels(self, views: Views, teacher: SegmentationModel, features: Tensor) -> PseudoLabels:
        config = self.labeller.config
        if config.cross_frame:
            return past_labels(self.labeller, views, teacher)
        labels: PseudoLabels = self.labeller(teacher.logits(features))
        if config.flow_consistent:
            past = teacher.logits(teacher.features(views.past)).float().softmax(dim=1)
            labels = replace(labels, sure=only_where_agreed(labels.sure, past, views.flow))
        return labels


@torch.no_grad()
def past_labels(labeller: PseudoLabeller, views: Views, teacher: SegmentationModel) -> PseudoLabels:
    """Pseudo-labels of frame t from the teacher's probabilities of frame t-1, brought along the flow."""
    past = teacher.logits(teacher.features(views.past)).float().softmax(dim=1)
    probabilities, inside = brought_along(past, views.flow)
    labels: PseudoLabels = labeller.of_probabilities(probabilities, inside=inside)
    return labels


def labels_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of ``(N, C, h, w)`` logits over the labelled pixels of the whole batch; 0 without any."""
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE_ID, reduction="sum")
    return batch_mean(total, (labels != IGNORE_ID).sum())
