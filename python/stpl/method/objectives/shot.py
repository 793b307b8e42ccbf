"""SHOT: information maximisation under a frozen classifier.

Source: J. Liang et al., "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised
Domain Adaptation", ICML 2020: its information maximisation, there called SHOT-IM. Each prediction should be sure (low
entropy, ``L_ent``) and all together diverse (high entropy of their mean, ``L_div``). The classifier, the "source
hypothesis", stays; the encoder moves.

SHOT adds a cross-entropy with pseudo-labels from the nearest class centroid, weight 0.3. Off by default: in the paper
an image has one label, and centroids are of the whole data set, renewed once an epoch; here they are of the pixels of
the batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config
from stpl.method.entropy import entropy
from stpl.method.objective import Objective
from stpl.method.reach import reached_parameters
from stpl.method.reduction import all_reduce_sum, batch_mean, process_count
from stpl.method.views import Views
from stpl.models.protocol import SegmentationModel


class ShotConfig(Config):
    diversity_weight: float = Field(1.0, ge=0)
    """Of the entropy of the mean prediction; the paper's is 1. It pulls the classes towards equal shares, which images
    of one object each may have and the pixels of a street do not."""
    pseudo_label_weight: float = Field(0.0, ge=0)
    """Of the cross-entropy with labels by the nearest centroid; the paper's is 0.3."""


class Shot(Objective):
    """Mean entropy of the predictions minus the entropy of the mean prediction, over the batch, in nats.

    Args:
        input_size: height and width of an image that the network takes.
    """

    def __init__(self, config: ShotConfig | None = None, input_size: tuple[int, int] = (64, 64)) -> None:
        super().__init__()
        self.config = config or ShotConfig()
        self.input_size = input_size

    @property
    def teacher_is_student(self) -> bool:
        return True

    def trainable(self, student: nn.Module) -> Iterable[nn.Parameter]:
        """The encoder: everything that the features depend on."""
        return encoder_parameters(student, self.input_size)

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        features = student.features(views.present)
        logits = student.logits(features)
        entropies = entropy(logits)
        sure = batch_mean(entropies.sum(), entropies.numel())
        mean = logits.float().softmax(dim=1).mean(dim=(0, 2, 3))
        # Of the whole batch: the other processes' share is a constant here, their gradients come from them.
        whole = all_reduce_sum(mean) / process_count()
        mean = whole + (mean - mean.detach())
        diverse = -(mean * mean.clamp_min(1e-12).log()).sum()
        losses = {
            "loss": sure - self.config.diversity_weight * diverse,
            "entropy": sure.detach(),
            "diversity": diverse.detach(),
        }
        if self.config.pseudo_label_weight > 0:
            labels = centroid_labels(features, logits)
            total = F.cross_entropy(logits.float(), labels, reduction="sum")
            supervised = batch_mean(total, labels.numel())
            losses["loss"] = losses["loss"] + self.config.pseudo_label_weight * supervised
            losses["loss_pseudo_labels"] = supervised.detach()
        return losses


@torch.no_grad()
def centroid_labels(features: Tensor, logits: Tensor) -> Tensor:
    """Each pixel's class by the nearest class centroid of the whole batch, by cosine.

    The centroids are means of the pixels weighted by their predictions, then once again means of the pixels so
    labelled. A class that is predicted nowhere labels nothing.

    Args:
        features: ``(N, D, h, w)``; ``logits``: ``(N, C, h', w')``.

    Returns:
        ``(N, h', w')`` int64.
    """
    n, num_classes, height, width = logits.shape
    features = F.interpolate(features.float(), size=(height, width), mode="bilinear", align_corners=False)
    # One more, constant, feature: as published, it keeps features near zero from pointing anywhere.
    points = torch.cat((features, torch.ones_like(features[:, :1])), dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    points = F.normalize(points, dim=1)
    weights = logits.float().softmax(dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    labels = weights.argmax(dim=1)
    with torch.autocast(points.device.type, enabled=False):  # bf16 is too coarse for sums of pixels and for cosines
        for _ in range(2):
            present = all_reduce_sum(F.one_hot(labels, num_classes).sum(dim=0)) > 0
            # Cosine does not ask how long a centroid is: the sum will do for the mean.
            centroids = F.normalize(all_reduce_sum(weights.T @ points), dim=1)
            labels = (points @ centroids.T).masked_fill(~present, -2.0).argmax(dim=1)
            weights = F.one_hot(labels, num_classes).float()
    return labels.view(n, height, width)


def encoder_parameters(model: nn.Module, input_size: tuple[int, int] = (64, 64)) -> list[nn.Parameter]:
    """The parameters that ``model.features`` depends on; the others are the classifier's."""
    images = torch.zeros(1, 3, *input_size, device=next(model.parameters()).device)
    training = model.training
    model.eval()
    found = reached_parameters(model, model.features, images)  # type: ignore[arg-type]
    model.train(training)
    return found
