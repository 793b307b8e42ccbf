"""Class-balanced sampling under a budget."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stpl.data.classes import IGNORE_ID
from stpl.method.sampling import Sample, sample_pixels


def draw(labels: torch.Tensor, budget: int, seed: int = 0) -> Sample:
    generator = torch.Generator().manual_seed(seed)
    return sample_pixels(labels, budget, torch.rand(labels.shape, generator=generator))


def fair_shares(sizes: list[int], budget: int) -> list[int]:
    """One pixel at a time to the class that has had the fewest and has some left; the shares in ascending order."""
    shares = [0] * len(sizes)
    for _ in range(min(budget, sum(sizes))):
        shares[min((i for i in range(len(sizes)) if shares[i] < sizes[i]), key=lambda i: shares[i])] += 1
    return sorted(shares)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=0, max_size=20),
    ignored=st.integers(0, 50),
    budget=st.integers(1, 200),
    seed=st.integers(0, 10**6),
)
def test_budget_is_spent_evenly_and_its_surplus_passed_on(sizes, ignored, budget, seed):
    pixels = [class_id for class_id, size in enumerate(sizes) for _ in range(size)] + [IGNORE_ID] * (ignored + 1)
    generator = torch.Generator().manual_seed(seed)
    flat = torch.tensor(pixels)[torch.randperm(len(pixels), generator=generator)]
    sample = draw(flat.view(1, 1, -1), budget, seed)
    drawn = sample.labels[sample.labels != IGNORE_ID]
    counts = torch.bincount(drawn, minlength=len(sizes))[: len(sizes)]
    assert sorted(counts.tolist()) == fair_shares(sizes, budget)  # whose turn comes last is chance
    assert sample.at.unique().numel() == sample.at.numel() == min(budget, len(pixels))
    assert torch.equal(flat[sample.at[0]], sample.labels[0])


def test_each_image_is_drawn_from_by_its_own_labels_and_noise_alone():
    torch.manual_seed(2)
    labels, noise = torch.randint(0, 5, (3, 12, 16)), torch.rand(3, 12, 16)
    whole = sample_pixels(labels, 20, noise)
    for n in range(3):
        alone = sample_pixels(labels[n : n + 1], 20, noise[n : n + 1])
        assert set(alone.at[0].tolist()) == set(whole.at[n].tolist())


def test_every_pixel_of_a_class_is_as_likely():
    labels = torch.zeros(1, 1, 40, dtype=torch.long)
    labels[..., 20:] = 1
    counts = torch.zeros(40)
    for seed in range(400):
        counts[draw(labels, 10, seed).at] += 1
    # 100 expected of 400 draws, standard deviation 8.7.
    assert counts.min() > 60 and counts.max() < 140


def test_with_fewer_places_than_classes_each_class_gets_its_turn():
    labels = torch.arange(6).view(1, 2, 3)
    drawn = torch.tensor([int(draw(labels, 1, seed).labels) for seed in range(300)])
    counts = torch.bincount(drawn, minlength=6)
    # 50 expected, standard deviation 6.5.
    assert counts.min() > 20 and counts.max() < 80


def test_a_map_without_labels_gives_no_labelled_pixel():
    assert (draw(torch.full((2, 4, 4), IGNORE_ID), 8).labels == IGNORE_ID).all()
