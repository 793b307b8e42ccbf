"""HCL: historical contrastive learning.

Source: J. Huang et al., "Model Adaptation: Historical Contrastive Learning for Unsupervised Domain Adaptation without
Source Data", NeurIPS 2021. Two terms, each against a model of earlier steps, which remembers the source:

instance discrimination (HCID)
    InfoNCE between the model's features of a pixel and the historical model's features of the same pixel, the other
    pixels being negatives; a key counts by how sure the historical model is of it.
category discrimination (HCCD)
    Self-training in which a pseudo-label counts by how far the model and the historical model agree on it,
    ``1 - sigmoid(|p - p_history|_1)``.

Where it differs: the paper contrasts images for classification and leaves open what an instance is in segmentation;
here it is a pixel, drawn class by class, of the same frame pair. The historical model is renewed every ``history``
steps; its first is the model that training starts from.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config
from stpl.data.classes import IGNORE_ID
from stpl.method.entropy import entropy
from stpl.method.objective import Objective
from stpl.method.pseudo_labels import PseudoLabeller
from stpl.method.reduction import batch_mean
from stpl.method.sampling import sample_pixels
from stpl.method.views import Views
from stpl.models.protocol import SegmentationModel
from stpl.models.warp import gather_pixels


class HclConfig(Config):
    history: int = Field(25, ge=1)
    """Steps after which the historical model is renewed by the present one."""
    weight: float = Field(0.5, ge=0)
    """Of instance discrimination beside category discrimination."""
    temperature: float = Field(0.07, gt=0)
    pixels: int = Field(256, ge=2)
    """Instances an image."""


class Hcl(Objective):
    """HCCD + weight * HCID.

    Args:
        model: what training starts from: the first historical model.
    """

    def __init__(self, config: HclConfig, labeller: PseudoLabeller, model: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.labeller = labeller
        self.historical = copy.deepcopy(model).eval().requires_grad_(False)

    @property
    def teacher_is_student(self) -> bool:
        return True

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        with torch.no_grad():
            past_features = self.historical.features(views.present)  # type: ignore[operator]
            past_logits = self.historical.logits(past_features)  # type: ignore[operator]
            own_logits = teacher.logits(teacher.features(views.present))
            labels = self.labeller(own_logits).sure
            distance = (own_logits.float().softmax(dim=1) - past_logits.float().softmax(dim=1)).abs().sum(dim=1)
            consistency = 1.0 - torch.sigmoid(distance)
        features = student.features(views.present_augmented)
        category = _weighted_loss(student.logits(features), labels, consistency)
        instance = self._instances(views, features, past_features, past_logits)
        return {
            "loss": category + self.config.weight * instance,
            "loss_category": category.detach(),
            "loss_instance": instance.detach(),
        }

    def after_step(self, student: nn.Module, teacher: nn.Module, step: int) -> None:
        if (step + 1) % self.config.history == 0:
            self.historical.load_state_dict(student.state_dict())

    def _instances(self, views: Views, features: Tensor, past_features: Tensor, past_logits: Tensor) -> Tensor:
        size = features.shape[-2:]
        # Drawn by the historical model's classes, so that no class's pixels are all negatives of each other.
        classes = F.interpolate(past_logits, size=size, mode="bilinear").argmax(dim=1)
        at = sample_pixels(classes, self.config.pixels, views.uniform(*size)).at
        queries = F.normalize(gather_pixels(features, at).float(), dim=-1)
        keys = F.normalize(gather_pixels(past_features, at).float(), dim=-1)
        similarity = queries @ keys.transpose(1, 2) / self.config.temperature
        target = torch.arange(at.shape[1], device=at.device).expand(at.shape)
        losses = F.cross_entropy(similarity.transpose(1, 2), target, reduction="none")
        uncertainty = F.interpolate(entropy(past_logits)[:, None], size=size, mode="bilinear")
        sure = 1.0 - uncertainty.flatten(1).gather(1, at) / torch.log(torch.tensor(float(past_logits.shape[1])))
        return batch_mean((sure * losses).sum(), losses.numel())


def _weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over the labelled pixels of the whole batch of ``weights`` times cross-entropy."""
    losses = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE_ID, reduction="none")
    return batch_mean((weights * losses).sum(), (labels != IGNORE_ID).sum())
