"""Times of several calls that take turns, so that the machine's noise meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

Call = Callable[[], Any]
Measure = Callable[[], float]
"""A call that says itself how many milliseconds count of it."""
Rounds = Sequence[float]
"""Of one call: its median milliseconds in each round."""

LEAST_REPEATS = 3
"""In a turn: of one alone there is no median."""
SETTLE_SECONDS = 0.01
"""Between two turns: another's threads may still spin."""


def milliseconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def medians_in_turns(calls: Mapping[str, Call], rounds: int, seconds: float) -> dict[str, list[float]]:
    """For each call its median milliseconds in each round, as of :func:`measured_in_turns`."""
    return measured_in_turns({name: partial(milliseconds, call) for name, call in calls.items()}, rounds, seconds)


def measured_in_turns(measures: Mapping[str, Measure], rounds: int, seconds: float) -> dict[str, list[float]]:
    """For each measure its median in each round.

    In every round each has its turn: it is made for about ``seconds``, and at least thrice. How often that is, is found
    before the first round, which warms up, too. The first one of a turn finds another's data in the caches: it does not
    count.
    """
    repeats = {name: _repeats(measure, seconds) for name, measure in measures.items()}
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            time.sleep(SETTLE_SECONDS)
            measure()
            found[name].append(median(measure() for _ in range(repeats[name])))
    return found


def ratio(numerator: Rounds, denominator: Rounds) -> dict[str, float]:
    """Median, least and largest of the rounds' ratios."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    return {"ratio": median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}


def _repeats(measure: Measure, seconds: float) -> int:
    measure()
    took = min(milliseconds(measure) for _ in range(2))
    return max(LEAST_REPEATS, round(1e3 * seconds / max(took, 1e-3)))
