"""A network without batch normalisation: the compact one with group normalisation in its place."""

from __future__ import annotations

from torch import nn

from stpl.models.compact import CompactNet

GROUPS = 8


def build(num_classes: int) -> nn.Module:
    """The compact network whose every normalisation is over groups of channels of one image (Wu and He, ECCV 2018)."""
    network = CompactNet(num_classes)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(GROUPS, child.num_features))
    return network
