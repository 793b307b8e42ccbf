"""What an objective is shown of the video at each step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Views:
    """A pair of frames, clean and augmented alike; all ``(N, 3, H, W)`` but ``flow`` ``(N, 2, H, W)``, t into t-1."""

    present: Tensor
    past: Tensor
    present_augmented: Tensor
    past_augmented: Tensor
    flow: Tensor
