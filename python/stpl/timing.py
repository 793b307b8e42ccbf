"""Times of single frames, summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Milliseconds a frame, over ``frames`` frames: the median and the 99th percentile."""

    frames: int
    p50: float
    p99: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Timing | None:
        """None without a frame."""
        if not milliseconds:
            return None
        p50, p99 = np.percentile(milliseconds, (50, 99))
        return cls(len(milliseconds), float(p50), float(p99))
