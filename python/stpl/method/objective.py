"""What every way of training without labels has in common: STPL, its ablations and its rivals."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from torch import Tensor, nn

from stpl.method.views import Views
from stpl.models.protocol import SegmentationModel


class Objective(nn.Module):
    """A loss on unlabelled pairs of frames, with whatever state and weights of its own it needs.

    Buffers and submodules are saved and resumed with the run.
    """

    @abstractmethod
    def forward(self, views: Views, student: SegmentationModel, teacher: SegmentationModel) -> dict[str, Tensor]:
        """``"loss"`` to minimise, and its parts by name, detached, for the log."""

    def trainable(self, student: nn.Module) -> Iterable[nn.Parameter]:
        """The weights of the network that are trained: unless an objective says otherwise, all that the network trains.

        A network may keep some from training (``requires_grad=False``), as the benchmarks' does its batch-norm scales.
        """
        return [parameter for parameter in student.parameters() if parameter.requires_grad]

    @property
    def teacher_frozen(self) -> bool:
        """Whether the teacher stays as training found it; the student then is what comes out."""
        return False

    @property
    def teacher_is_student(self) -> bool:
        """Whether the teacher is the student as the last step left it, instead of a moving average."""
        return False

    def after_step(self, student: nn.Module, teacher: nn.Module, step: int) -> None:
        """Called once ``step`` (counted from 0) is done and the teacher has followed."""
