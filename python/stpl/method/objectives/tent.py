"""TENT: entropy minimisation through the normalisation layers.

Source: D. Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021. The mean entropy of the
predictions is minimised by the scales and shifts of the normalisation layers alone, on frames as they are.

Where it differs: TENT normalises each batch by its own statistics. A model to be shipped needs fixed ones, so the
statistics are those of the stage before (re-estimated on the target's frames, as for every method here). Its networks
had batch normalisation alone; here layer, group and instance normalisation train, too, so that transformers, which have
next to no batch normalisation, can follow.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from stpl.errors import UserError
from stpl.method.entropy import entropy
from stpl.method.objective import Objective
from stpl.method.reduction import batch_mean
from stpl.method.views import Views
from stpl.models.protocol import SegmentationModel

_NORMALISATIONS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d)


class Tent(Objective):
    """Mean entropy of the student's predictions on frame t, in nats."""

    @property
    def teacher_is_student(self) -> bool:
        return True

    def trainable(self, student: nn.Module) -> Iterable[nn.Parameter]:
        """Scales and shifts of the normalisation layers.

        Raises:
            UserError: the network has none.
        """
        layers = [module for module in student.modules() if isinstance(module, _NORMALISATIONS)]
        affine = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
        if not affine:
            raise UserError(
                "method tent: expected a network with normalisation layers that scale and shift; found none: "
                "use another --method"
            )
        return affine

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        entropies = entropy(student.logits(student.features(views.present)))
        return {"loss": batch_mean(entropies.sum(), entropies.numel())}
