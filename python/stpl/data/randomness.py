"""Random numbers keyed by seed and step, so that a resumed run goes on exactly as an uninterrupted one."""

from __future__ import annotations

import numpy as np
import torch


def seed_step(seed: int, step: int) -> None:
    """Seeds torch's global generator (augmentation, sampling) for one training step."""
    entropy = np.random.SeedSequence((seed, step)).generate_state(2, np.uint32)
    torch.manual_seed(int(entropy[0]) << 32 | int(entropy[1]))


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
