"""BENCHMARKS.md and the claims, from results that are made up, missing, or the committed ones."""

from __future__ import annotations

import json

import adaptation_tables
import claims
import make_tables
import pytest


def outcome(score: float, step: int | None = None) -> dict:
    return {"score": score, "all": score, "halves": [score, score], "step": step}


def run(last: float, selected: float, best: float) -> dict:
    trained = {"snapshots": {"25": best, "50": last}} if step_differs(last, selected, best) else {"snapshots": {}}
    costs = {"seconds": 90.0, "cpu_seconds": 60.0, "peak_mebibytes": 800.0, "gamma": 0.7, "commit": "abc", "iou": {}}
    return {"last": outcome(last), "selected": outcome(selected), "best": outcome(best), **trained, **costs}


def step_differs(*scores: float) -> bool:
    return len(set(scores)) > 1


def row(*runs: dict | None) -> dict:
    return {"overrides": [], "oracle": False, "runs": {str(i): r for i, r in enumerate(runs)}, "note": None}


def table(**domains: dict) -> dict:
    return {"text": "", "seeds": [0, 1], "domains": {name: {"rows": rows} for name, rows in domains.items()}}


def one(score: float) -> dict:
    return row(run(score, score, score))


def test_a_row_shows_mean_spread_and_the_share_of_the_distance_closed():
    rows = {"source": one(40.0), "stpl": row(run(44.0, 46.0, 47.0), run(46.0, 48.0, 48.5)), "oracle": one(50.0)}
    text = adaptation_tables.domain_table(table(dusk=rows), "dusk")
    assert "| stpl | 45.0 ± 1.4 | 47.0 ± 1.4 | 47.8 ± 1.1 | +7.0 | 70 % | 1.5 | 1.0 | 800 |" in text
    assert "| oracle |  | 50.0 |  | +10.0 | 100 % |" in text


def test_what_is_missing_is_said():
    rows = {"source": one(40.0), "stpl": row(run(44.0, 45.0, 46.0), None), "hcl": row(None, None)}
    text = adaptation_tables.domain_table(table(dusk=rows), "dusk")
    assert "| hcl | not run |" in text
    assert "46.0 (1 of 2 seeds)" in text
    both = table(dusk=rows, night={**rows, "stpl": row(None)})
    assert "| stpl | not run | not run | not run | 45.0 | not run |" in adaptation_tables.means_over_domains(both)


def test_variants_are_compared_by_their_gain_over_the_source():
    first = {"source": one(40.0), "bn": one(42.0), "0.1": row(run(43.0, 44.0, 45.0))}
    second = {"source": one(20.0), "bn": one(21.0), "0.1": row(run(22.0, 22.0, 23.0))}
    text = adaptation_tables.in_brief(table(dusk=first, night=second))
    assert "| 0.1 | +3.0 | 43.0 / 44.0 / 45.0 | 22.0 / 22.0 / 23.0 |" in text


def test_every_table_without_results_says_how_to_compute_it(tmp_path):
    text = make_tables.page(tmp_path)
    assert "not run: `python benchmarks/tables.py rivals`" in text
    assert "not run: `python benchmarks/overhead.py`" in text
    assert text.count("not run:") == len(make_tables.TABLES)


def test_the_page_is_made_from_the_committed_results():
    expected = make_tables.page(make_tables.RESULTS)
    assert (make_tables.ROOT / "BENCHMARKS.md").read_text(encoding="utf-8") == expected, "run make_tables.py"


@pytest.fixture
def results(tmp_path):
    """Function that writes tables into a folder of results and returns what the claims say, by their name."""

    def write(**tables: dict) -> dict[str, bool | None]:
        for name, content in tables.items():
            (tmp_path / f"{name.replace('_', '-')}.json").write_text(json.dumps({"results": content}))
        return dict(zip((c.__name__ for c in claims.CLAIMS), (c["holds"] for c in claims.check(tmp_path)), strict=True))

    return write


def test_without_runs_every_claim_is_open(results):
    assert set(results().values()) == {None}


@pytest.mark.parametrize(("stpl", "first", "closed"), [(49.0, True, True), (47.0, True, False), (44.0, False, False)])
def test_stpl_must_be_first_and_close_the_distance(results, stpl, first, closed):
    rows = {"source": one(40.0), "hcl": one(45.0), "stpl": one(stpl), "oracle": one(50.0)}
    verdicts = results(rivals=table(**{"camvid-dusk": rows}))
    assert verdicts["stpl_first"] is first and verdicts["distance_closed"] is closed


def test_stpl_is_not_first_while_a_rival_has_not_run(results):
    rows = {"source": one(40.0), "hcl": row(None), "stpl": one(49.0)}
    assert results(rivals=table(rain=rows))["stpl_first"] is None


@pytest.mark.parametrize(("last_two", "holds"), [((45.0, 46.0), True), ((46.0, 45.0), False)])
def test_the_papers_order(results, last_two, holds):
    values = (41.0, 42.0, 43.0, 44.0, *last_two)
    rows = {name: one(value) for name, value in zip(adaptation_tables.PAPER_ORDER, values, strict=True)}
    assert results(ablation=table(rain=rows))["paper_order"] is holds


@pytest.mark.parametrize(
    ("selected", "safe", "keeps"),
    [
        pytest.param(43.6, True, True, id="most of the gain"),
        pytest.param(42.5, True, False, id="little of the gain"),
        pytest.param(40.4, False, False, id="below the calibrated source"),
    ],
)
def test_the_guard_must_lose_little_and_keep_the_gain(results, selected, safe, keeps):
    """Calibrated source 41, start of training 42, best snapshot 44."""
    before = {"input calibration": one(41.0), "bn": one(42.0)}
    runs = [run(43.0, selected, 43.9)] * 12
    benign = {**before, "stpl": row(*[run(39.0, 43.0, 44.0)] * 12), "stpl, guarded": row(*runs)}
    hostile = {**before, "stpl": row(*[run(30.0, 41.0, 41.5)] * 8), "stpl, guarded": row(*[run(41.0, 41.0, 41.2)] * 8)}
    verdicts = results(guard_benign=table(dusk=benign), guard_hostile=table(black=hostile))
    assert verdicts["guard_loses_little"] is safe and verdicts["guard_keeps_the_gain"] is keeps


def test_twenty_runs_are_asked_for(results):
    rows = {"input calibration": one(41.0), "bn": one(42.0), "stpl": one(43.0), "stpl, guarded": one(43.0)}
    assert results(guard_benign=table(dusk=rows))["guard_loses_little"] is None
