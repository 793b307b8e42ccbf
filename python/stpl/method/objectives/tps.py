"""TPS: temporal pseudo supervision, without the source data.

Source: Y. Xing et al., "Domain Adaptive Video Segmentation via Temporal Pseudo Supervision", ECCV 2022. The model's
own prediction of frame t-1, brought to frame t along the flow, supervises the augmented frame t; there is neither a
threshold nor an averaged teacher.

Where it differs: the supervised loss on source frames is left out, there being none, as in STPL's comparison (its
"TPS*" row). The release labels frame t from the pair (t-1, t-2) of its two-frame network; a network of one frame
labels t-1 alone. Pixels whose flow leaves the picture are left out, where the release repeats the border. Frames are
not rescaled: the augmentation here is photometric. The release's faults (augmentation of mean-subtracted frames as if
they were pictures, flipped flow that keeps its sign) are not repeated.
"""

from __future__ import annotations

from torch import Tensor

from stpl.method.objective import Objective
from stpl.method.objectives.self_training import labels_loss, past_labels
from stpl.method.pseudo_labels import PseudoLabelConfig, PseudoLabeller
from stpl.method.views import Views
from stpl.models.protocol import SegmentationModel


class Tps(Objective):
    """Cross-entropy of the student on the augmented frame t against its own labels of frame t-1, warped to t."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.labeller = PseudoLabeller(PseudoLabelConfig(selection="all"), num_classes)

    @property
    def teacher_is_student(self) -> bool:
        return True

    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        labels = past_labels(self.labeller, views, teacher).sure
        return {"loss": labels_loss(student.logits(student.features(views.present_augmented)), labels)}
