"""Models by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from stpl.errors import unknown_name
from stpl.models.accel_deeplabv2 import AccelDeepLabV2
from stpl.models.compact import CompactNet

MODELS: dict[str, Callable[[int], nn.Module]] = {"accel_deeplabv2": AccelDeepLabV2, "compact": CompactNet}


def build_model(name: str, num_classes: int) -> nn.Module:
    """A network with random weights; satisfies :class:`stpl.models.protocol.SegmentationModel`.

    Raises:
        UserError: no model has this name.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name](num_classes)
