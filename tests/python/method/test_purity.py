"""Neighbour purity against small sets whose neighbours are known, and against a plain search."""

from __future__ import annotations

import math

import pytest
import torch

from stpl.data.classes import IGNORE_ID
from stpl.method.purity import neighbour_purity


def at_degrees(*angles: float) -> torch.Tensor:
    return torch.tensor([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles])


def test_shares_counted_by_hand():
    # Neighbours in order of angle: 0 -> 10, 25, 90; 10 -> 0, 25, 90; 25 -> 10, 0, 90; 90 -> 25, 10, 0.
    features = at_degrees(0, 10, 25, 90) * torch.tensor([[1.0], [5.0], [0.2], [1.0]])  # lengths do not matter
    purity = neighbour_purity(features, torch.tensor([0, 0, 1, 1]), [1, 2, 3])
    assert purity == pytest.approx({1: (1 + 1 + 0 + 1) / 4, 2: (1 + 1 + 0 + 1) / 8, 3: 4 / 12})


def test_ignored_pixels_are_nobodys_neighbours():
    features = at_degrees(0, 1, 2, 60)
    labels = torch.tensor([0, IGNORE_ID, 0, 0])
    assert neighbour_purity(features, labels, [1, 2]) == {1: 1.0, 2: 1.0}


@pytest.mark.parametrize("chunk", [7, 1000])
def test_it_is_the_plain_search(chunk):
    torch.manual_seed(0)
    features, labels = torch.randn(60, 5), torch.randint(0, 4, (60,))
    cosines = torch.nn.functional.cosine_similarity(features[:, None], features[None], dim=2)
    shares = []
    for i in range(60):
        others = sorted((j for j in range(60) if j != i), key=lambda j: -float(cosines[i, j]))
        shares.append(sum(int(labels[j] == labels[i]) for j in others[:9]) / 9)
    assert neighbour_purity(features, labels, [9], chunk)[9] == pytest.approx(sum(shares) / 60)


@pytest.mark.parametrize("ks", [[], [0], [3], [1, 4]])
def test_impossible_numbers_of_neighbours_are_refused(ks):
    with pytest.raises(ValueError, match="1 to 2"):
        neighbour_purity(at_degrees(0, 10, 20), torch.tensor([0, 1, 0]), ks)
