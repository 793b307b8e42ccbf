"""From a method's name to the objective that trains it."""

from __future__ import annotations

from torch import nn

from stpl.method.objective import Objective
from stpl.method.objectives.self_training import SelfTraining
from stpl.method.objectives.stpl import Stpl
from stpl.method.pseudo_labels import PseudoLabeller
from stpl.train.config import AdaptConfig


def build_objective(config: AdaptConfig, model: nn.Module) -> Objective:
    """The training objective of ``config.method`` for ``model``.

    Raises:
        ValueError: a method that trains nothing.
    """
    if config.method == "source" or config.method == "bn":
        raise ValueError(f"method {config.method!r} trains nothing")
    num_classes, channels = int(model.num_classes), int(model.feature_channels)  # type: ignore[arg-type]
    self_training = SelfTraining(PseudoLabeller(config.pseudo_labels, num_classes))
    if config.method == "self-training":
        return self_training
    return Stpl(config.method, config.contrast, self_training, channels)
