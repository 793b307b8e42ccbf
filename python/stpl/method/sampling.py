"""Class-balanced sampling of pixels under a budget an image.

The budget is split evenly over the classes present; what a small class cannot use goes to the others. Everything is
batched and of fixed shape: no loop over images or classes, and nothing waits for the GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stpl.data.classes import IGNORE_ID

_PRIME = 257
"""Above every class id: a random linear map modulo it, a different one for each image, shuffles the ids."""


@dataclass(frozen=True)
class Sample:
    """Pixels drawn from each image of a batch.

    Attributes:
        at: ``(N, B)`` int64, positions in the flattened maps, no two of an image alike.
        labels: ``(N, B)`` int64, their classes; :data:`IGNORE_ID` where an image had fewer labelled pixels than B.
    """

    at: Tensor
    labels: Tensor


@torch.no_grad()
def sample_pixels(labels: Tensor, budget: int, noise: Tensor) -> Sample:
    """Draws ``budget`` labelled pixels of each image, as evenly over its classes as they last.

    The classes take turns: every class present gives one pixel, then each that has some left gives another, until the
    budget is spent.

    Args:
        labels: ``(N, h, w)`` int64 class ids 0..254; :data:`IGNORE_ID` is never drawn.
        budget: pixels an image, at least 1.
        noise: ``(N, h, w)`` uniform in [0, 1): which pixels of a class are drawn, and which class comes first. All
            the randomness there is, so that the caller decides what it is keyed by.

    Returns:
        B = min(budget, h * w) pixels an image.
    """
    flat, noise = labels.flatten(1), noise.flatten(1)
    # One key sorts by class, and at random within it; 24 bits are all that a float32 in [0, 1) has.
    keys, order = ((flat << 24) | (noise * 2**24).long()).sort(dim=1)
    classes = keys >> 24
    turn = _position_within_run(classes)
    factor, offset = 1 + (noise[:, :1] * (_PRIME - 1)).long(), (noise[:, -1:] * _PRIME).long()
    place = turn * _PRIME + (classes * factor + offset) % _PRIME
    place = place.masked_fill(classes == IGNORE_ID, torch.iinfo(torch.int64).max)
    chosen = place.topk(min(budget, flat.shape[1]), dim=1, largest=False, sorted=False).indices
    at = order.gather(1, chosen)
    return Sample(at, flat.gather(1, at))


def _position_within_run(values: Tensor) -> Tensor:
    """For each row of sorted ``(N, P)`` values, how many equal ones stand before each."""
    index = torch.arange(values.shape[1], device=values.device).expand_as(values)
    begins = torch.ones_like(values, dtype=torch.bool)
    begins[:, 1:] = values[:, 1:] != values[:, :-1]
    return index - torch.where(begins, index, 0).cummax(dim=1).values
