"""A tiny table through the real runner: resumed, one run deleted, one that fails, one interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import adaptation_tables
import catalogue
import pytest
import tables
import videos
from catalogue import Row, Table
from frozen import freeze
from runner import Runner
from runs import Adaptation, Bench
from videos import Domain

from stpl.data.specs import open_dataset
from stpl.train.checkpoint import InputConfig
from stpl.train.source import SourceConfig, train_source

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SPEC = "synthstreet:?domain={}&seed=2&sequences=2&frames=3&size=48x64"
TINY = ("guard.mode=off", "steps=4", "snapshot_every=2", "batch_size=2", "calibration.frames=2", "batch_norm.frames=2")
SOURCE_CONFIG = SourceConfig(input=InputConfig(height=48, width=64), crop=(32, 48), steps=2, batch_size=2)
FINE_TUNING = ("steps=2", "batch_size=2", "crop=[32,48]")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("source")
    train_source(SOURCE_CONFIG, open_dataset(SPEC.format("day")), out)
    return out


@pytest.fixture(scope="module")
def code(root, tmp_path_factory) -> Path:
    """The code as it is when the tests begin."""
    return freeze(root, tmp_path_factory.mktemp("code"))


@pytest.fixture
def tiny(source, code, monkeypatch) -> Table:
    monkeypatch.setattr(tables, "ROOT", code)
    monkeypatch.setitem(videos.SOURCES, "tiny", str(source))
    rows = (
        Row("source", ("method=source",), repeated=False),
        Row("self-training", ("method=self-training",)),
        Row("oracle", FINE_TUNING, repeated=False, oracle=True),
    )
    domains = (Domain("tiny-dusk", "tiny", SPEC.format("dusk")),)
    table = Table("tiny", "Tiny", "", domains, rows, seeds=(0, 1), base=TINY, keep_snapshots=True)
    for holder in (tables.TABLES, catalogue.TABLES):
        monkeypatch.setitem(holder, "tiny", table)
    return table


def compute(tmp_path: Path, *arguments: str) -> int:
    where = ["--out", str(tmp_path / "runs"), "--results", str(tmp_path / "results"), "--jobs", "2"]
    return tables.main(["tiny", *where, *arguments])


def results_in(tmp_path: Path) -> dict[str, int]:
    return {file.parent.name: file.stat().st_mtime_ns for file in (tmp_path / "runs").glob("*/result.json")}


def test_a_table_is_computed_once_and_a_deleted_run_alone_again(tiny, tmp_path, capfd):
    assert compute(tmp_path) == 0
    record = json.loads((tmp_path / "results" / "tiny.json").read_text())
    rows = record["results"]["domains"]["tiny-dusk"]["rows"]
    trained = rows["self-training"]["runs"]
    assert set(trained) == {"0", "1"} and set(rows["source"]["runs"]) == {"0"}
    for run in trained.values():
        assert set(run["snapshots"]) == {"2", "4"}
        assert run["last"]["step"] == 4 and run["last"] == run["selected"]
        assert run["best"]["score"] == max(run["snapshots"].values())
        assert run["last"]["score"] == pytest.approx(sum(run["last"]["halves"]) / 2, abs=1e-2)
        assert run["seconds"] > 0 and run["peak_mebibytes"] > 50
    assert len(rows["oracle"]["runs"]["0"]["selected"]["halves"]) == 2
    before = results_in(tmp_path)
    assert len(before) == 4
    assert len(list((tmp_path / "runs").glob("*self-training-0*/snapshots/*.safetensors"))) == 2

    assert compute(tmp_path) == 0
    assert results_in(tmp_path) == before

    (deleted,) = (name for name in before if "self-training-1" in name)
    (tmp_path / "runs" / deleted / "result.json").unlink()
    assert compute(tmp_path, "--list") == 0
    assert f"missing {deleted}" in capfd.readouterr().err
    assert compute(tmp_path) == 0
    after = results_in(tmp_path)
    assert {name for name in before if after[name] != before[name]} == {deleted}
    # The same run gives the same numbers again.
    again = json.loads((tmp_path / "results" / "tiny.json").read_text())["results"]["domains"]["tiny-dusk"]["rows"]
    assert again["self-training"]["runs"]["1"]["snapshots"] == trained["1"]["snapshots"]

    text = adaptation_tables.in_full(record["results"])
    assert f"{rows['source']['runs']['0']['last']['score']:.1f}" in text and "not run" not in text


def test_rows_and_seeds_left_aside_are_shown_as_not_run(tiny, tmp_path):
    assert compute(tmp_path, "--rows", "source") == 0
    rows = json.loads((tmp_path / "results" / "tiny.json").read_text())["results"]["domains"]["tiny-dusk"]["rows"]
    assert rows["self-training"]["runs"] == {"0": None, "1": None}
    assert "not run" in adaptation_tables.in_full({"domains": {"d": {"rows": rows}}, "seeds": [0, 1], "text": ""})


def test_a_run_that_fails_is_reported_and_stops_no_other(tiny, code, tmp_path, capfd):
    still = Domain("still", "tiny", SPEC.format("dusk").replace("frames=3", "frames=1"))
    bench = Bench(tmp_path / "runs", root=code)
    runs = [Adaptation(still, (*TINY, "method=bn")), Adaptation(tiny.domains[0], (*TINY, "method=bn"))]
    runner = Runner(bench, jobs=1)
    assert runner.execute(runner.missing(runs, lambda _: False))
    assert runner.failed == [bench.folder(runs[0])]
    assert bench.result(runs[0]) is None and bench.result(runs[1]) is not None
    assert "expected consecutive frames of a video" in capfd.readouterr().err


def test_an_interrupted_run_goes_on_to_the_same_result(tiny, code, tmp_path):
    long = (*TINY, "steps=60", "snapshot_every=20", "method=self-training")
    run = Adaptation(tiny.domains[0], long)
    whole, parted = Bench(tmp_path / "whole", root=code), Bench(tmp_path / "parted", root=code)
    for bench in (whole, parted):
        runner = Runner(bench, jobs=1)
        missing = runner.missing([run], lambda _: False)
        if bench is parted:
            _interrupt_after_steps(parted.folder(run), 5)
            assert not runner.execute(missing)
            assert (parted.folder(run) / "resume.safetensors").is_file() and parted.result(run) is None
        assert runner.execute(missing)
    expected, found = whole.result(run), parted.result(run)
    assert set(found["snapshots"]) == {"20", "40", "60"}
    assert found["snapshots"] == expected["snapshots"]  # digests of the weights among them


def _interrupt_after_steps(folder: Path, steps: int) -> None:
    """Ctrl-C for this process, once the run has got so far."""

    def wait() -> None:
        metrics = folder / "metrics.jsonl"
        while not metrics.is_file() or metrics.read_text().count('"event": "step"') < steps:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def test_two_processes_do_not_work_at_one_run(tiny, code, tmp_path):
    from execution import BUSY, locked

    bench, run = Bench(tmp_path, root=code), Adaptation(tiny.domains[0], (*TINY, "method=bn"))
    folder = bench.folder(run)
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({**bench.job(run), "commit": "x", "keep_snapshots": False}))
    worker = code / "benchmarks" / "worker.py"
    with locked(folder) as free:
        assert free
        assert subprocess.run([sys.executable, str(worker), str(folder)], check=False).returncode == BUSY
    assert bench.result(run) is None


def test_runs_that_a_sitting_does_not_find_again_are_kept_with_their_commit(tiny, tmp_path, monkeypatch):
    assert compute(tmp_path, "--rows", "source", "self-training", "--seeds", "0") == 0
    file = tmp_path / "results" / "tiny.json"
    before = json.loads(file.read_text())["results"]["domains"]["tiny-dusk"]["rows"]
    assert before["self-training"]["runs"]["1"] is None

    # One run of the domain is found, the others are not: the runs' folder is another.
    assert compute(tmp_path / "elsewhere", "--rows", "source", "--results", str(file.parent)) == 0
    after = json.loads(file.read_text())["results"]["domains"]["tiny-dusk"]["rows"]
    assert "kept" not in after["source"]["runs"]["0"]
    assert after["self-training"]["runs"] == {"0": {**before["self-training"]["runs"]["0"], "kept": True}, "1": None}

    # Nothing of the domain is: the source model is not there.
    monkeypatch.setitem(videos.SOURCES, "tiny", str(tmp_path / "nowhere"))
    assert compute(tmp_path, "--collect") == 0
    rows = json.loads(file.read_text())["results"]["domains"]["tiny-dusk"]["rows"]
    assert rows["source"]["runs"]["0"] == {**after["source"]["runs"]["0"], "kept": True}
    assert rows["self-training"]["runs"] == after["self-training"]["runs"]
