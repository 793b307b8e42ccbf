"""Times of several calls that take turns, so that the machine's noise meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

Call = Callable[[], Any]
Rounds = Sequence[float]
"""Of one call: its median milliseconds in each round."""


def milliseconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def medians_in_turns(
    calls: Mapping[str, Call], rounds: int, seconds: float, settle_seconds: float = 0.01
) -> dict[str, list[float]]:
    """For each call its median milliseconds in each round.

    In every round each call has its turn: it is made for about ``seconds``, and at least once. A first round, which
    warms up and finds how often that is, does not count. The first call of a turn finds another's data in the caches
    and perhaps another's threads still spinning: after ``settle_seconds`` of sleep it is made once, uncounted.
    """
    repeats = {name: _repeats(call, seconds) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(settle_seconds)
            call()
            times[name].append(median(milliseconds(call) for _ in range(repeats[name])))
    return times


def ratio(numerator: Rounds, denominator: Rounds) -> dict[str, float]:
    """Median, least and largest of the rounds' ratios."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return {"ratio": median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}


def _repeats(call: Call, seconds: float) -> int:
    call()
    took = min(milliseconds(call) for _ in range(2))
    return max(1, round(1e3 * seconds / max(took, 1e-3)))
