"""Calls take turns, each as often as its time allows, and ratios are those of the rounds."""

from __future__ import annotations

import pytest
import turns


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes only where a test says so."""

    class Clock:
        now = 0.0

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(turns.time, "sleep", clock.sleep)
    return clock


def test_calls_are_made_in_turns_for_the_time_they_get(clock):
    made = []

    def lasting(name, seconds):
        def call():
            made.append(name)
            clock.sleep(seconds)

        return call

    found = turns.medians_in_turns({"quick": lasting("quick", 0.01), "slow": lasting("slow", 1.0)}, 3, 0.1)
    assert found == {"quick": pytest.approx([10.0] * 3), "slow": pytest.approx([1000.0] * 3)}
    # Three each to find how often, then in every round one that does not count and the turn's, three at least.
    assert made == ["quick"] * 3 + ["slow"] * 3 + (["quick"] * 11 + ["slow"] * 4) * 3


def test_a_measure_says_itself_what_counts(clock):
    values = iter(range(100))
    found = turns.measured_in_turns({"stage": lambda: clock.sleep(0.05) or float(next(values))}, 1, 0.15)
    assert found == {"stage": [5.0]}  # of 4, 5 and 6, after three to find how often and one that does not count


def test_the_ratio_is_of_rounds_not_of_means():
    assert turns.ratio([2.0, 30.0, 6.0], [1.0, 10.0, 4.0]) == {"ratio": 2.0, "ratio_min": 1.5, "ratio_max": 3.0}
