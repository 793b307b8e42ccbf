"""From a run's result to what a table keeps of it."""

from __future__ import annotations

import pytest
from summary import summarise


def measured(first: float, second: float) -> dict:
    return {"all": 0.5 * (first + second), "halves": [first, second], "iou": {"road": 0.5}}


def test_last_selected_and_best_are_told_apart():
    snapshots = {"25": measured(40, 42), "100": measured(38, 40), "50": measured(43, 45)}
    kept = summarise({"selected": {**snapshots["25"], "step": 25}, "snapshots": snapshots, "seconds": 3.0})
    assert [(kept[w]["score"], kept[w]["step"]) for w in ("last", "selected", "best")] == [
        (39, 100),
        (41, 25),
        (44, 50),
    ]
    assert kept["snapshots"] == {"25": 41, "100": 39, "50": 44} and kept["seconds"] == 3.0


def test_the_start_of_training_may_be_the_best():
    kept = summarise({"selected": {**measured(50, 52), "step": 0}, "snapshots": {"25": measured(30, 31)}})
    assert kept["best"]["score"] == 51 and kept["best"]["step"] == 0 and kept["last"]["score"] == 30.5


def test_a_run_without_training_has_one_outcome():
    kept = summarise({"selected": {"halves": [40.0, 50.0]}})
    assert kept["last"] == kept["selected"] == kept["best"]
    assert kept["best"]["score"] == pytest.approx(45.0) and kept["best"]["all"] is None
