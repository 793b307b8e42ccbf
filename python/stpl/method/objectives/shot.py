"""SHOT's objective: information maximisation under a frozen classifier.

Source: J. Liang et al., "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised
Domain Adaptation", ICML 2020, equation 4: each prediction should be sure (low entropy) and all together diverse (high
entropy of their mean). The classifier, the "source hypothesis", stays; the encoder moves. SHOT's clustering
pseudo-labels (its equation 7) are made once an epoch for whole images and are not part of this objective.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stpl.method.entropy import entropy
from stpl.method.objective import Objective
from stpl.method.reduction import all_reduce_sum, batch_mean, process_count
from stpl.method.views import Views
from stpl.models.protocol import SegmentationModel


class Shot(Objective):
    """Mean entropy of the predictions minus the entropy of the mean prediction, over the batch, in nats."""

    @property
    def teacher_is_student(self) -> bool:
        return True

    def trainable(self, student: nn.Module) -> Iterable[nn.Parameter]:
        """The encoder: everything that the features depend on."""
        return encoder_parameters(student)

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        logits = student.logits(student.features(views.present))
        entropies = entropy(logits)
        sure = batch_mean(entropies.sum(), entropies.numel())
        mean = logits.float().softmax(dim=1).mean(dim=(0, 2, 3))
        # Of the whole batch: the other processes' share is a constant here, their gradients come from them.
        whole = all_reduce_sum(mean) / process_count()
        mean = whole + (mean - mean.detach())
        diverse = -(mean * mean.clamp_min(1e-12).log()).sum()
        return {"loss": sure - diverse, "entropy": sure.detach(), "diversity": diverse.detach()}


def encoder_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that ``model.features`` depends on; the others are the classifier's.

    Found by asking autograd, so that it holds for any network.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    training = model.training
    model.eval()
    with torch.enable_grad():
        device = parameters[0].device
        reached = model.features(torch.zeros(1, 3, 64, 64, device=device)).sum()  # type: ignore[operator]
        gradients = torch.autograd.grad(reached, parameters, allow_unused=True)
    model.train(training)
    return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
