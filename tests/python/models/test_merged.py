"""Merged classes: a group's probability is the sum of its members'."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stpl.models import CompactNet, SegmentationModel
from stpl.models.merged import MergedClasses


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return CompactNet(5).eval()


@torch.no_grad()
def test_probabilities_add_up(network: nn.Module) -> None:
    merged = MergedClasses(network, [[3], [0, 4], [2]])
    assert isinstance(merged, SegmentationModel)
    assert (merged.num_classes, merged.feature_channels) == (3, network.feature_channels)
    images = torch.randn(2, 3, 32, 48)
    own = network(images).softmax(dim=1)
    kept = own[:, [3, 0, 4, 2]].sum(dim=1)  # class 1 is in no group
    together = torch.stack((own[:, 3], own[:, 0] + own[:, 4], own[:, 2]), dim=1) / kept[:, None]
    torch.testing.assert_close(merged(images).softmax(dim=1), together)
    torch.testing.assert_close(merged.logits(merged.features(images)), merged(images))


@torch.no_grad()
def test_groups_of_one_are_the_networks_own_scores(network: nn.Module) -> None:
    images = torch.randn(1, 3, 32, 48)
    assert torch.equal(MergedClasses(network, [[4], [1]])(images), network(images)[:, [4, 1]])


def test_corners_lie_as_the_networks(network: nn.Module) -> None:
    assert MergedClasses(network, [[0]]).align_corners is False
    aligned = CompactNet(2)
    aligned.align_corners = True
    assert MergedClasses(aligned, [[0]]).align_corners is True


@pytest.mark.parametrize("groups", [[[0], []], [[0, 1], [1]], [[5]], [[-1]]])
def test_groups_are_disjoint_and_of_classes(network: nn.Module, groups: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="disjoint groups of the classes 0 to 4"):
        MergedClasses(network, groups)
