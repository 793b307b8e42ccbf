"""Keyed random numbers: every thing in the street owns a stream, so any frame can be made without the ones before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_NEGATIVE_OFFSET = 1 << 24  # street cells behind the start have negative indices; SeedSequence wants none


class Dice:
    """Uniform draws from a Philox stream keyed by a path of integers.

    Only ``Generator.random`` is used underneath: its mapping from stream to doubles is the simplest NumPy has and the
    least likely to change between versions.
    """

    def __init__(self, *path: int) -> None:
        key = np.random.SeedSequence([part + _NEGATIVE_OFFSET for part in path])
        self._generator = np.random.Generator(np.random.Philox(key))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(self._generator.random())

    def chance(self, probability: float) -> bool:
        return float(self._generator.random()) < probability

    def integer(self, low: int, high: int) -> int:
        """An integer in ``[low, high)``."""
        return low + int((high - low) * float(self._generator.random()))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options))]

    def array(self, *shape: int) -> np.ndarray:
        """Uniform float64 values in [0, 1) of the given shape."""
        return self._generator.random(shape)

    def colour(self, base: Sequence[float], spread: float) -> tuple[float, float, float]:
        """``base`` (linear RGB), brightened or darkened by up to ``spread``, its hue shifted by a third of that."""
        gain = 1.0 + spread * (2.0 * self.array(4) - 1.0) * (0.33, 0.33, 0.33, 1.0)
        return tuple(float(np.clip(c * g * gain[3], 0.005, 1.0)) for c, g in zip(base, gain[:3], strict=True))  # type: ignore[return-value]
