"""Self-training with an EMA teacher: the baseline that STPL stands on.

The teacher (Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017) labels the clean frame;
the student learns those labels on the augmented one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stpl.data.classes import IGNORE_ID
from stpl.method.objective import Objective
from stpl.method.pseudo_labels import PseudoLabeller, PseudoLabels
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

    def terms(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> SelfTrainingTerms:
        with torch.no_grad():
            teacher_features = teacher.features(views.present)
            labels = self.labeller(teacher.logits(teacher_features))
        augmented = student.features(views.present_augmented)
        logits = student.logits(augmented)
        if not bool((labels.sure != IGNORE_ID).any()):
            return SelfTrainingTerms(logits.sum() * 0.0, labels, teacher_features, augmented)
        loss = F.cross_entropy(logits.float(), labels.sure, ignore_index=IGNORE_ID)
        return SelfTrainingTerms(loss, labels, teacher_features, augmented)

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        loss = self.terms(views, student, teacher).loss
        return {"loss": loss, "loss_self_training": loss.detach()}
