"""A network whose classes are merged into those of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stpl.models.protocol import aligns_corners


class MergedClasses(nn.Module):
    """Scores for groups of a network's classes.

    A group's score is the logarithm of the sum of its members' exponentials, so that the softmax over the groups gives
    each the summed probability of its members, relative to all classes that are in some group; a group of one is its
    member's own score. All rows of the network's classifier stay as they are, and are trained along.

    Args:
        network: as :class:`stpl.models.protocol.SegmentationModel`.
        groups: for each class, the network's classes that are it; no class in two groups.
    """

    _members: Tensor

    def __init__(self, network: nn.Module, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        members = [i for group in groups for i in group]
        classes = int(network.num_classes)  # type: ignore[arg-type]
        if not all(groups) or len(set(members)) != len(members) or not set(members) <= set(range(classes)):
            raise ValueError(f"expected disjoint groups of the classes 0 to {classes - 1}, found {groups}")
        self.network = network
        self.groups = tuple(tuple(group) for group in groups)
        self.num_classes = len(self.groups)
        self.feature_channels = int(network.feature_channels)  # type: ignore[arg-type]
        self.align_corners = aligns_corners(network)
        # Beside the weights, wherever they are: a list of numbers would be brought to a GPU, and waited for, each time.
        self.register_buffer("_members", torch.tensor(members), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.features(images)  # type: ignore[operator]
        return features

    def logits(self, features: Tensor) -> Tensor:
        scores: Tensor = self.network.logits(features)  # type: ignore[operator]
        if all(len(group) == 1 for group in self.groups):
            return scores.index_select(1, self._members)
        return torch.cat([_joined(scores, group) for group in self.groups], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))


def _joined(scores: Tensor, group: Sequence[int]) -> Tensor:
    members = torch.cat([scores[:, i : i + 1] for i in group], dim=1)
    return members if len(group) == 1 else members.logsumexp(dim=1, keepdim=True)
