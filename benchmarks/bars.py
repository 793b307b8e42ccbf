"""What a measured value must reach, and whether it does: computed, never written down."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A limit and on which side of it a value must lie; the limit itself will do."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """NaN meets nothing."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


def verdict(value: float | None, bar: Bar | None) -> list[str]:
    """Two cells of a table: the bar, and "met" or "not met"; of what has no bar or was not measured, empty ones."""
    if bar is None:
        return ["", ""]
    if value is None:
        return [str(bar), "not measured"]
    return [str(bar), "met" if bar.met(value) else "not met"]


def growth_exponent(sizes: tuple[float, float], costs: tuple[float, float]) -> float:
    """The power of the size with which the cost grows between two measurements: 1 is linear."""
    if min(*sizes, *costs) <= 0 or sizes[0] == sizes[1]:
        raise ValueError(f"expected positive costs of two sizes, found {costs} of {sizes}")
    return math.log(costs[1] / costs[0]) / math.log(sizes[1] / sizes[0])
