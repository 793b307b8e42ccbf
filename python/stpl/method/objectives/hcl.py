"""HCL: historical contrastive learning.

Source: J. Huang et al., "Model Adaptation: Historical Contrastive Learning for Unsupervised Domain Adaptation without
Source Data", NeurIPS 2021, in the form that the authors released for segmentation. Two models of earlier steps stand in
for the source: a moving average of the student (the teacher), and a record of it, which is renewed every ``history``
steps and begins as the model that training starts from.

category discrimination (HCCD)
    The recorded model's labels teach the student on the augmented frame. Each counts by how far recorded model and
    moving average agree on its pixel, ``exp(-KL(recorded || average))``.
instance discrimination (HCID)
    Contrast of the student's features of augmented pixels (queries) with the moving average's features of clean ones
    (keys): ``-mean_{k in P} log( r_k exp(q.k / t) / sum_k' r_k' exp(q.k' / t) )``. P holds the pixels of the same label
    in the same frame, without the query's own place. ``r`` is the reliability of a key, ``1 - entropy / log C + 0.1``
    within 0.9 to 1.1.

Where it differs from the release: the recorded model labels at each step, not in rounds over the whole data set with
flips and scales; pixels are drawn class by class instead of all contrasted with all, and the mean is over each query's
positives instead of all keys; there are neither class weights nor an auxiliary output; the record is a copy of the
moving average, where the release sets both to the student; and the moving average comes out, not the student.
"""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config
from stpl.data.classes import IGNORE_ID
from stpl.method.entropy import entropy
from stpl.method.objective import Objective
from stpl.method.pseudo_labels import PseudoLabelConfig, PseudoLabeller
from stpl.method.reduction import batch_mean
from stpl.method.sampling import Sample, sample_pixels
from stpl.method.views import Views
from stpl.models.protocol import SegmentationModel
from stpl.models.warp import gather_pixels

_RELIABILITY_SPREAD = 0.1
Positives = Literal["class", "pixel"]


class HclConfig(Config):
    history: int = Field(25, ge=1)
    """Steps after which the record is renewed."""
    selection: Literal["class-balanced", "fixed", "all"] = "all"
    """Which of the recorded model's labels are used, as in ``pseudo_labels.selection``; the release uses all."""
    weight: float = Field(0.5, ge=0)
    """Of instance discrimination beside category discrimination."""
    temperature: float = Field(0.07, gt=0)
    positives: Positives = "class"
    """A query's positives: the other pixels of its label, as released; or its own place alone, as in the paper's
    instance discrimination of whole images."""
    pixels: int = Field(256, ge=2)
    """Queries an image, and as many keys."""


class Hcl(Objective):
    """HCCD + weight * HCID.

    Args:
        model: what training starts from: the first record.
        labels: thresholds, where ``config.selection`` uses some.
    """

    def __init__(
        self, config: HclConfig, num_classes: int, model: nn.Module, labels: PseudoLabelConfig | None = None
    ) -> None:
        super().__init__()
        self.config = config
        labels = labels or PseudoLabelConfig()
        self.labeller = PseudoLabeller(labels.model_copy(update={"selection": config.selection}), num_classes)
        self.recorded = copy.deepcopy(model).eval().requires_grad_(False)

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        with torch.no_grad():
            recorded_logits = self.recorded(views.present)
            keys = teacher.features(views.present)
            average_logits = teacher.logits(keys)
            labels = self.labeller(recorded_logits).sure
        queries = student.features(views.present_augmented)
        category = category_loss(student.logits(queries), labels, consistency(recorded_logits, average_logits))
        instance = self._instances(views, queries, keys, labels, reliability(average_logits))
        return {
            "loss": category + self.config.weight * instance,
            "loss_category": category.detach(),
            "loss_instance": instance.detach(),
        }

    def after_step(self, student: nn.Module, teacher: nn.Module, step: int) -> None:
        if (step + 1) % self.config.history == 0:
            self.recorded.load_state_dict(teacher.state_dict())

    def _instances(self, views: Views, queries: Tensor, keys: Tensor, labels: Tensor, sure: Tensor) -> Tensor:
        size = queries.shape[-2:]
        labels = F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
        sure = F.interpolate(sure[:, None], size=size, mode="bilinear")[:, 0]
        drawn = sample_pixels(labels, self.config.pixels, views.uniform(*size))
        return instance_loss(
            F.normalize(gather_pixels(queries, drawn.at).float(), dim=-1),
            F.normalize(gather_pixels(keys, drawn.at).float(), dim=-1),
            drawn,
            sure.flatten(1).gather(1, drawn.at),
            self.config.temperature,
            self.config.positives,
        )


def consistency(recorded: Tensor, average: Tensor) -> Tensor:
    """How far two models agree, ``exp(-KL)``, 0 to 1, ``(N, h, w)``, from their logits ``(N, C, h, w)``."""
    p, q = recorded.float().log_softmax(dim=1), average.float().log_softmax(dim=1)
    return torch.exp(-(p.exp() * (p - q)).sum(dim=1))


def reliability(logits: Tensor) -> Tensor:
    """Weight of each pixel as a key, 0.9 to 1.1, ``(N, h, w)``, from logits ``(N, C, h, w)``."""
    spread = _RELIABILITY_SPREAD
    return (1.0 - entropy(logits) / math.log(max(logits.shape[1], 2)) + spread).clamp(1.0 - spread, 1.0 + spread)


def category_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean over the labelled pixels of the whole batch of ``weights`` ``(N, h, w)`` times cross-entropy."""
    losses = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE_ID, reduction="none")
    return batch_mean((weights * losses).sum(), (labels != IGNORE_ID).sum())


def instance_loss(
    queries: Tensor, keys: Tensor, drawn: Sample, sure: Tensor, temperature: float, positives: Positives
) -> Tensor:
    """Mean over the queries of the whole batch that have a positive; 0 where none has.

    Args:
        queries, keys: unit vectors ``(N, B, D)`` of the drawn pixels; those of one image only meet each other.
        drawn: which pixels they are; unlabelled ones take no part.
        sure: ``(N, B)`` weights of the keys.
    """
    valid = drawn.labels != IGNORE_ID
    own = torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)
    both = valid[:, :, None] & valid[:, None, :]
    if positives == "class":
        candidate = both & ~own
        positive = candidate & (drawn.labels[:, :, None] == drawn.labels[:, None, :])
    else:
        candidate, positive = both, both & own
    with torch.autocast(queries.device.type, enabled=False):  # a cosine in bf16 is too coarse to be divided by t
        scores = queries @ keys.transpose(1, 2) / temperature + sure.log()[:, None, :]
    # A large negative number, not infinity: rows without any candidate stay finite, and so do their gradients.
    normaliser = scores.masked_fill(~candidate, -1e4).logsumexp(dim=2, keepdim=True)
    found = positive.sum(dim=2)
    losses = (normaliser - scores).masked_fill(~positive, 0.0).sum(dim=2) / found.clamp_min(1)
    return batch_mean(losses.sum(), (found > 0).sum())
