"""Random numbers keyed by seed, step and sample."""

from __future__ import annotations

import pytest
import torch

from stpl.data.randomness import batch_indices, random_others, sample_generator, seed_step, uniform


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


def test_a_samples_numbers_depend_on_seed_step_and_sample_alone():
    def first(*key: int) -> float:
        return float(torch.rand((), generator=sample_generator(*key)))

    assert first(1, 2, 3) == first(1, 2, 3)
    assert len({first(*key) for key in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (3, 2, 1)]}) == 5


def test_others_are_never_the_frame_itself_and_keyed_by_seed_step_and_place():
    drawn = [random_others(4, [2, 2], [0, 1], 7, step) for step in range(60)]
    assert {pair[0] for pair in drawn} == {pair[1] for pair in drawn} == {0, 1, 3}
    assert any(first != second for first, second in drawn)
    assert random_others(4, [2], [1], 7, 5) == drawn[5][1:]
    assert drawn != [random_others(4, [2, 2], [0, 1], 8, step) for step in range(60)]


def test_a_row_of_numbers_from_each_generator():
    together = uniform([sample_generator(0, 0, n) for n in range(3)], (4, 5))
    assert together.shape == (3, 4, 5) and float(together.min()) >= 0 and float(together.max()) < 1
    assert torch.equal(together[1:2], uniform([sample_generator(0, 0, 1)], (4, 5)))
