"""From a method's name to the objective that trains it."""

from __future__ import annotations

from torch import nn

from stpl.method.objective import Objective
from stpl.method.pseudo_labels import PseudoLabeller
from stpl.train.config import AdaptConfig


def build_objective(config: AdaptConfig, model: nn.Module, input_size: tuple[int, int]) -> Objective:
    """The training objective of ``config.method`` for ``model``, which training starts from.

    Each is imported where it is used: a run depends on its own method's code and on no other's.

    Args:
        input_size: height and width of the images it is trained on.

    Raises:
        ValueError: a method that trains nothing.
    """
    if config.method == "source" or config.method == "bn":
        raise ValueError(f"method {config.method!r} trains nothing")
    num_classes, channels = int(model.num_classes), int(model.feature_channels)  # type: ignore[arg-type]
    if config.method == "tent":
        from stpl.method.objectives.tent import Tent

        return Tent()
    if config.method == "shot":
        from stpl.method.objectives.shot import Shot

        return Shot(config.shot, input_size)
    if config.method == "tps":
        from stpl.method.objectives.tps import Tps

        return Tps(num_classes)
    if config.method == "hcl":
        from stpl.method.objectives.hcl import Hcl

        return Hcl(config.hcl, num_classes, model, config.pseudo_labels)
    from stpl.method.objectives.self_training import SelfTraining

    self_training = SelfTraining(PseudoLabeller(config.pseudo_labels, num_classes))
    if config.method == "self-training":
        return self_training
    from stpl.method.objectives.stpl import Stpl

    return Stpl(config.method, config.contrast, self_training, channels)
