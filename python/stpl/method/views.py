"""What an objective is shown of the video at each step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stpl.data.randomness import uniform


@dataclass(frozen=True)
class Views:
    """A pair of frames, clean and augmented alike; all ``(N, 3, H, W)`` but ``flow`` ``(N, 2, H, W)``, t into t-1.

    Attributes:
        generators: one for each of the N pairs, keyed by seed, step and the pair's place in the whole batch; empty
            where torch's global generator will do.
    """

    present: Tensor
    past: Tensor
    present_augmented: Tensor
    past_augmented: Tensor
    flow: Tensor
    generators: tuple[torch.Generator, ...] = ()

    def uniform(self, *shape: int) -> Tensor:
        """``(N, *shape)`` random numbers in [0, 1), each pair's from its own generator, on the frames' device."""
        return uniform(self.generators or [None] * len(self.present), shape, self.present.device)
