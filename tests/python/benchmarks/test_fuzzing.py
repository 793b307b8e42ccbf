"""What the fuzzers' summary becomes in the results."""

from __future__ import annotations

import json
import sys

import fuzzing


def test_the_summary_is_recorded_with_machine_and_commit(tmp_path, monkeypatch):
    summary, out = tmp_path / "summary.tsv", tmp_path / "fuzz.json"
    summary.write_text("target\tseconds\texecutions\tfindings\nframe\t60\t1200\t0\ny4m\t60\t9\t1\n")
    monkeypatch.setattr(sys, "argv", ["fuzzing.py", str(summary), "--json", str(out)])
    fuzzing.main()
    record = json.loads(out.read_text())
    assert record["machine"] and record["commit"]
    assert record["results"]["targets"] == {
        "frame": {"seconds": 60, "executions": 1200, "findings": 0},
        "y4m": {"seconds": 60, "executions": 9, "findings": 1},
    }
