"""A table's new record takes over what the older one holds and it lacks."""

from __future__ import annotations

import copy
from typing import Any

from older import merged


def record(runs: dict[str, Any], *, row: str = "stpl", spec: str = "a", overrides: tuple[str, ...] = ("x=1",)) -> Any:
    content = {"overrides": list(overrides), "oracle": False, "runs": runs, "note": None}
    return {"seeds": [0, 1], "domains": {"dusk": {"spec": spec, "view": "", "rows": {row: content}}}}


def runs_of(merged_record: Any) -> Any:
    return merged_record["domains"]["dusk"]["rows"]["stpl"]["runs"]


OLD = {"0": {"score": 1, "commit": "old"}, "1": {"score": 2, "commit": "old"}}


def test_a_seed_that_was_not_found_again_is_kept_and_marked():
    new = record({"0": {"score": 3, "commit": "new"}, "1": None})
    found = merged(new, record(OLD))
    assert runs_of(found) == {"0": {"score": 3, "commit": "new"}, "1": {"score": 2, "commit": "old", "kept": True}}
    assert "older" not in found


def test_seeds_that_were_asked_for_once_stay():
    found = merged(record({"0": None, "1": None}), record({"0": None, "10": OLD["0"], "2": OLD["1"]}))
    assert list(runs_of(found)) == ["0", "1", "2", "10"] and runs_of(found)["10"]["kept"]


def test_runs_of_other_settings_data_or_rows_are_kept_apart():
    for before in (record(OLD, overrides=("x=2",)), record(OLD, spec="b"), record(OLD, row="gone")):
        found = merged(record({"0": {"score": 3}, "1": None}), before)
        assert runs_of(found) == {"0": {"score": 3}, "1": None}
        assert [(run["seed"], run["run"]) for run in found["older"]] == list(OLD.items())
        # Nor does the sitting after lose them, and when the settings come back, so do the runs.
        again = merged(record({"0": {"score": 4}, "1": None}), copy.deepcopy(found))
        assert again["older"] == found["older"]
        name = next(iter(before["domains"]["dusk"]["rows"]))
        empty = copy.deepcopy(before)
        empty["domains"]["dusk"]["rows"][name]["runs"] = {"0": None, "1": None}
        back = merged(empty, {"older": found["older"]})
        kept = back["domains"]["dusk"]["rows"][name]["runs"]
        assert {seed: run["score"] for seed, run in kept.items()} == {"0": 1, "1": 2} and "older" not in back


def test_the_first_record_is_itself():
    new = record({"0": {"score": 3}, "1": None})
    assert merged(copy.deepcopy(new), {}) == new
