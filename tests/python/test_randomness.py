"""Random numbers keyed by seed and step."""

from __future__ import annotations

import pytest
import torch

from stpl.data.randomness import batch_indices, seed_step


def test_an_epoch_visits_every_sample_once():
    visited = [i for step in range(5) for i in batch_indices(10, 2, seed=3, step=step)]
    assert sorted(visited) == list(range(10))


def test_order_depends_on_seed_and_epoch_alone():
    assert batch_indices(100, 8, 1, 40) == batch_indices(100, 8, 1, 40)
    assert batch_indices(100, 50, 1, 0) != batch_indices(100, 50, 2, 0)
    assert batch_indices(100, 100, 1, 0) != batch_indices(100, 100, 1, 1)


def test_batch_may_span_epochs():
    assert len(batch_indices(3, 8, 0, 0)) == 8


@pytest.mark.parametrize(("count", "batch"), [(0, 1), (1, 0)])
def test_nothing_to_draw_from_is_refused(count, batch):
    with pytest.raises(ValueError, match="at least one"):
        batch_indices(count, batch, 0, 0)


def test_step_seeds_torch():
    seed_step(1, 2)
    first = torch.rand(3)
    seed_step(1, 3)
    other = torch.rand(3)
    seed_step(1, 2)
    assert torch.equal(first, torch.rand(3)) and not torch.equal(first, other)
