"""Random numbers keyed by seed, step and sample.

So a resumed run goes on exactly as an uninterrupted one, and what happens to a sample does not depend on which
process, or which part of an accumulated batch, it falls to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def key_seed(*key: int) -> int:
    """A 64-bit seed from integers >= 0; different keys give unrelated seeds."""
    entropy = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return int(entropy[0]) << 32 | int(entropy[1])


def seed_step(seed: int, step: int, process: int = 0) -> None:
    """Seeds torch's global generator (dropout and the like) for one training step of one process."""
    torch.manual_seed(key_seed(seed, step, process))


def sample_generator(seed: int, step: int, sample: int) -> torch.Generator:
    """The random numbers of one sample at one step, drawn on the CPU: the same on every device.

    Args:
        sample: its place in the whole batch of that step, 0 .. batch_size - 1.
    """
    # A fourth number sets these keys apart from those of seed_step.
    return torch.Generator().manual_seed(key_seed(seed, step, sample, 1))


def uniform(
    generators: Sequence[torch.Generator | None], shape: Sequence[int], device: torch.device | str = "cpu"
) -> Tensor:
    """``(N, *shape)`` float32 in [0, 1): a row from each generator; None draws from torch's global one."""
    rows = [torch.rand(tuple(shape), generator=generator) for generator in generators]
    numbers = torch.stack(rows)
    if torch.device(device).type != "cpu":
        return numbers.pin_memory().to(device, non_blocking=True)  # the host goes on while it copies
    return numbers.to(device)


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Positions 0 .. count-1 of one batch: every epoch is a new permutation, keyed by seed and epoch.

    Raises:
        ValueError: count or batch_size below 1.
    """
    if count < 1 or batch_size < 1:
        raise ValueError(f"expected at least one sample and a batch of at least one; found {count} and {batch_size}")
    positions = range(step * batch_size, (step + 1) * batch_size)
    epochs = {position // count for position in positions}
    order = {epoch: np.random.default_rng((seed, epoch)).permutation(count) for epoch in epochs}
    return [int(order[position // count][position % count]) for position in positions]


def random_others(count: int, indices: Sequence[int], places: Sequence[int], seed: int, step: int) -> list[int]:
    """For each of ``indices`` another number of 0 .. count-1, all as likely, keyed by seed, step and place.

    Args:
        count: at least 2.
        places: of the samples in the whole batch of that step.
    """
    others = []
    for index, place in zip(indices, places, strict=True):
        # The 2 sets these keys apart from those of the sample's other random numbers.
        drawn = int(np.random.default_rng((seed, step, place, 2)).integers(count - 1))
        others.append(drawn + (drawn >= index))
    return others
