"""Criteria for snapshots on cases whose answer is known, and the whole comparison on tiny real runs."""

from __future__ import annotations

import json
import math

import catalogue
import guard_selectors
import make_tables
import pytest
import snapshot_selectors as selectors
import tables
import torch
import videos
from catalogue import BEFORE_TRAINING, Row, Table
from frozen import freeze
from videos import Domain

from stpl.data.specs import open_dataset
from stpl.train.checkpoint import InputConfig
from stpl.train.source import SourceConfig, train_source


def test_density_is_high_in_dense_groups():
    sure = torch.eye(2).repeat_interleave(8, dim=0)
    # Each sees the seven others of its group alike, and none of the other group.
    assert selectors.soft_neighbourhood_density(sure) == pytest.approx(math.log(7), abs=1e-4)
    scattered = torch.eye(16)
    assert selectors.soft_neighbourhood_density(scattered) == pytest.approx(math.log(15), abs=1e-4)
    pairs = torch.eye(8).repeat_interleave(2, dim=0)
    assert selectors.soft_neighbourhood_density(pairs) == pytest.approx(0.0, abs=1e-4)


def test_agreement_is_with_the_labels_of_the_mean_prediction():
    def opinion(*first: float) -> selectors.Opinion:
        p = torch.tensor(first)
        return selectors.Opinion({}, torch.stack((p, 1 - p), dim=1).half())

    opinions = [opinion(0.9, 0.9, 0.1, 0.1), opinion(0.9, 0.6, 0.1, 0.1), opinion(0.9, 0.0, 0.1, 0.1)]
    # The mean prediction is 0.9, 0.5 (the first class, of equals), 0.1, 0.1.
    found = selectors.agreement_with_mean(opinions[:2] + opinions[2:], [opinions[0], opinions[1]])
    assert found[:2] == [1.0, 1.0] and found[2] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_criterion_chooses_its_highest_score_and_trust_the_last_above_its_floor():
    assert selectors.chosen_step("entropy", {0: -0.5, 25: -0.3, 50: -0.4}) == 25
    assert selectors.chosen_step("entropy", {50: -0.3, 25: -0.3, 0: -0.5}) == 25
    assert selectors.chosen_step("trust", {0: 1.0, 25: 0.99, 50: 0.97, 75: 0.9}) == 50
    assert selectors.chosen_step("trust", {0: 1.0, 25: 0.5}) == 0


def test_rank_correlation():
    assert selectors.rank_correlation([1, 2, 3], [10, 20, 21]) == pytest.approx(1.0)
    assert selectors.rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    assert selectors.rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(math.sqrt(3) / 2)
    assert selectors.rank_correlation([1, 1, 1], [1, 2, 3]) is None


def line(kept: float, benign: bool, best: float = 44.0) -> dict:
    """Calibrated source 41, start of training 42."""
    scores = {"source": 40.0, "input calibration": 41.0, "bn": 42.0}
    by = {guard_selectors.ACTING: kept, guard_selectors.BEST: best}
    return {**scores, "benign": benign, "guarded_best": kept, "kept": by}


def proven(lines: list[dict]) -> tuple[bool | None, list[str]]:
    summary = {guard_selectors.ACTING: guard_selectors.outcome(guard_selectors.ACTING, lines)}
    return guard_selectors.proof({"runs": lines, "of": len(lines), "selectors": summary})


@pytest.mark.parametrize(
    ("benign", "hostile", "holds"),
    [(43.5, 40.6, True), (43.5, 40.4, False), (43.3, 41.0, False), (42.0, 42.0, False)],
)
def test_the_proof_asks_for_little_loss_and_most_of_the_gain(benign, hostile, holds):
    found, text = proven([line(benign, True)] * 12 + [line(hostile, False)] * 8)
    assert found is holds and text[0] == "20 of 20 runs are there: 12 benign, 8 hostile"
    assert f"{hostile - 41:+.2f}" in text[1] and f"{min(hostile, benign) - 42:+.2f}" in text[2]
    assert f"{50 * (benign - 42):.0f} %" in text[3]


def test_the_proof_is_open_until_there_are_enough_runs():
    assert proven([line(43.5, True)] * 11 + [line(41.0, False)] * 12)[0] is None
    assert proven([line(43.5, True)] * 12 + [line(41.0, False)] * 7)[0] is None


def test_the_proof_is_against_the_better_of_source_and_calibrated_source():
    spoilt = {**line(41.0, False), "source": 41.8}  # a hostile video spoilt the calibration: 41
    lines = [line(43.5, True)] * 12 + [line(41.0, False)] * 7
    assert proven([*lines, line(41.0, False)])[0] is True
    found, text = proven([*lines, spoilt])
    assert found is False and "-0.80" in text[1]


def test_a_guarded_run_that_gets_further_is_measured_against_itself():
    further = {**line(44.0, True), "guarded_best": 46.0}
    assert guard_selectors.outcome(guard_selectors.ACTING, [further])["share_of_gain"] == pytest.approx(0.5)


SPEC = "synthstreet:?domain={}&seed=2&sequences=2&frames=3&size=48x64"
TINY = (
    "guard.mode=observe", "guard.content=0", "guard.least_frames=2", "guard.frames=2", "steps=4", "snapshot_every=2",
    "batch_size=2", "calibration.frames=2", "batch_norm.frames=2",
)  # fmt: skip
SOURCE_CONFIG = SourceConfig(input=InputConfig(height=48, width=64), crop=(32, 48), steps=2, batch_size=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_tiny_real_runs_are_compared(root, tmp_path, monkeypatch, capsys):
    train_source(SOURCE_CONFIG, open_dataset(SPEC.format("day")), tmp_path / "source")
    monkeypatch.setattr(tables, "ROOT", freeze(root, tmp_path / "code"))
    monkeypatch.setattr(guard_selectors, "ROOT", tables.ROOT)
    monkeypatch.setitem(videos.SOURCES, "tiny", str(tmp_path / "source"))
    rows = (
        *BEFORE_TRAINING,
        Row("self-training", ("method=self-training",)),
        Row("self-training, guarded", ("method=self-training", "guard.mode=act")),
    )
    domain = Domain("tiny-dusk", "tiny", SPEC.format("dusk"))
    table = Table("guard-benign", "", "", (domain,), rows, seeds=(0,), base=TINY, keep_snapshots=True)
    for holder in (tables.TABLES, guard_selectors.TABLES):
        monkeypatch.setitem(holder, "guard-benign", table)
    monkeypatch.setitem(catalogue.GROUPS, "guard", ("guard-benign",))
    runs, results = tmp_path / "runs", tmp_path / "results"
    assert tables.main(["guard-benign", "--out", str(runs), "--results", str(results)]) == 0

    arguments = ["--out", str(runs), "--json", str(results / "guard_selectors.json")]
    assert guard_selectors.main(arguments) == 0
    assert "runs are there: 1 benign, 0 hostile" in capsys.readouterr().out
    found = json.loads((results / "guard_selectors.json").read_text())["results"]
    (run,) = found["runs"]
    measured = json.loads((results / "guard-benign.json").read_text())["results"]["domains"]["tiny-dusk"]["rows"]
    assert run["snapshots"]["0"] == pytest.approx(measured["bn"]["runs"]["0"]["selected"]["score"], abs=1e-2)
    snapshots = measured["self-training"]["runs"]["0"]["snapshots"]
    assert {step: run["snapshots"][step] for step in snapshots} == pytest.approx(snapshots, abs=1e-2)
    assert run["kept"]["last"] == run["snapshots"]["4"]
    assert run["kept"]["guard, looking on"] == pytest.approx(
        measured["self-training"]["runs"]["0"]["selected"]["score"], abs=1e-2
    )
    assert set(run["kept"].values()) - {run["kept"]["guard"]} <= set(run["snapshots"].values())
    assert set(found["selectors"]) == {*selectors.SOURCES, "guard", "guard, looking on", "best (needs labels)"}
    (kept,) = (runs / "selectors").glob("tiny-dusk-*.json")
    (scores,) = json.loads(kept.read_text()).values()
    assert set(scores) == set(selectors.SOURCES) and all(set(s) == {"0", "2", "4"} for s in scores.values())
    assert all(0.0 < value <= 1.0 for value in scores["EnsV"].values()) and scores["EnsV"] == scores["own mean"]

    written = kept.stat().st_mtime_ns
    assert guard_selectors.main(arguments) == 0
    assert kept.stat().st_mtime_ns == written  # nothing is computed twice
    text = make_tables.guard_selectors(found)
    assert "| SND |" in text and "Over 1 of 1 runs, 1 of them benign" in text
