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
    means = adaptation_tables.means_over_domains(both)
    assert "| stpl | not run | not run | not run | 45.0 (1 of 2 seeds) | not run |" in means


def test_the_mean_over_domains_is_of_whole_seeds_with_their_spread():
    first = {"source": one(40.0), "stpl": row(run(44.0, 46.0, 47.0), run(46.0, 48.0, 48.5), None)}
    second = {"source": one(30.0), "stpl": row(run(34.0, 36.0, 37.0), run(38.0, 38.0, 38.5), run(90.0, 90.0, 90.0))}
    text = adaptation_tables.means_over_domains(table(dusk=first, night=second))
    assert "| source | 35.0 | 35.0 | 35.0 | 40.0 | 30.0 |" in text
    means = "40.5 ± 2.1 | 42.0 ± 1.4 | 42.8 ± 1.1 | 47.0 ± 1.4 (2 of 3 seeds) | 54.7 ± 30.6"
    assert f"| stpl (2 of 3 seeds) | {means} |" in text
    done = {**first, "stpl": row(run(44.0, 46.0, 47.0), run(46.0, 48.0, 48.5))}
    assert "| stpl | 45.0 ± 1.4 | 47.0 ± 1.4 | 47.8 ± 1.1 |" in adaptation_tables.means_over_domains(table(dusk=done))


def test_the_seeds_above_a_table_are_those_that_were_run():
    done, missing = run(44.0, 45.0, 46.0), None
    rows = {"source": one(40.0), "0.1": row(done, missing), "0.2": row(done, missing)}
    assert adaptation_tables.in_brief(table(dusk=rows)).startswith("Seed 0. 3 of 5 runs are done.")
    assert adaptation_tables.in_full(table(dusk=rows)).startswith("Seed 0. 3 of 5 runs are done.")
    rows |= {"a, b": row(done, done), "0.2": row(done, done)}
    assert adaptation_tables.in_brief(table(dusk=rows)).startswith("Seeds 0, 1; of *0.1*: 0. 6 of 7 runs are done.")
    rows["0.1"] = row(done, done)
    assert adaptation_tables.in_brief(table(dusk=rows)).startswith("Seeds 0, 1.\n")


def test_the_commits_of_the_runs_stand_under_the_table():
    older = {**run(44.0, 46.0, 47.0), "commit": "old", "kept": True}
    rows = {"source": one(40.0), "stpl": row(run(44.0, 46.0, 47.0), older)}
    said = "Runs by commit: abc (2), old (1)."
    said += " † 1 of them are from an older record, not found again by the last sitting: old (1)."
    for text in (adaptation_tables.in_full(table(dusk=rows)), adaptation_tables.in_brief(table(dusk=rows))):
        assert text.endswith(f"\n\n{said}")
    assert "| stpl | 44.0 ± 0.0 | 46.0 ± 0.0 | 47.0 ± 0.0 † |" in adaptation_tables.domain_table(
        table(dusk=rows), "dusk"
    )
    ablation = table(dusk={name: one(40.0) for name in adaptation_tables.PAPER_ORDER})
    assert adaptation_tables.ablation(ablation).endswith("\n\nRuns by commit: abc (6).")


def test_the_words_above_a_table_are_the_catalogues(tmp_path):
    rows = {"source": one(40.0)}
    content = {"results": {**table(dusk=rows), "text": "as it was"}, "commit": "abc", "date": "today"}
    content["machine"] = {"processor": "one", "cores": 1}
    (tmp_path / "rivals.json").write_text(json.dumps(content))
    text = make_tables.section("rivals", tmp_path)
    assert make_tables.COMPUTED["rivals"].text in text and "as it was" not in text


def test_the_page_says_which_snapshots_purity_was_measured_on():
    curve = {"1": {"mean": 80.0}}
    results = {"ks": [1], "pixels": 3, "frames": 2, "domains": {"dusk": {"stpl": curve}}}
    assert "that the guard selects, where the ablation" in adaptation_tables.purity(results)
    assert "Of the last snapshots" in adaptation_tables.purity({**results, "of": "last"})


def test_variants_are_compared_by_their_gain_over_the_source():
    first = {"source": one(40.0), "bn": one(42.0), "0.1": row(run(43.0, 44.0, 45.0))}
    second = {"source": one(20.0), "bn": one(21.0), "0.1": row(run(22.0, 22.0, 23.0))}
    text = adaptation_tables.in_brief(table(dusk=first, night=second))
    assert "| 0.1 | +3.0 | 43.0 / 44.0 / 45.0 | 22.0 / 22.0 / 23.0 |" in text


def test_every_table_without_results_says_how_to_compute_it(tmp_path):
    text = make_tables.page(tmp_path)
    assert "not run: `python benchmarks/tables.py rivals`" in text
    assert "not run: `python benchmarks/runtime_overhead.py`" in text
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


@pytest.fixture
def measured(tmp_path):
    """Function that returns what was measured for each claim, by its name."""

    def read() -> dict[str, str]:
        found = claims.check(tmp_path)
        return {claim.__name__: entry["measured"] for claim, entry in zip(claims.CLAIMS, found, strict=True)}

    return read


def test_without_runs_every_claim_is_open(results):
    assert set(results().values()) == {None}


def test_a_claim_is_one_line(results):
    results()
    assert all(entry["claim"] and "\n" not in entry["claim"] for entry in claims.check(claims.RESULTS))


@pytest.mark.parametrize(("stpl", "first", "closed"), [(49.0, True, True), (47.0, True, False), (44.0, False, False)])
def test_stpl_must_be_first_and_close_the_distance(results, stpl, first, closed):
    rows = {"source": one(40.0), "hcl": one(45.0), "stpl": one(stpl), "oracle": one(50.0)}
    verdicts = results(rivals=table(**{"camvid-dusk": rows}))
    assert verdicts["stpl_first"] is first and verdicts["distance_closed"] is closed


def test_stpl_is_not_first_while_a_rival_has_not_run(results):
    rows = {"source": one(40.0), "hcl": row(None), "stpl": one(49.0)}
    assert results(rivals=table(rain=rows))["stpl_first"] is None


def test_claims_on_the_rivals_are_open_while_seeds_are_missing(results, measured):
    controls = {name: one(46.0) for name in claims.CONTROL_NAMES}
    unfinished = row(run(49.0, 49.0, 49.0), None, None)
    rows = {"source": one(40.0), "hcl": one(45.0), "stpl": unfinished, **controls, "oracle": one(50.0)}
    verdicts = results(rivals=table(**{"camvid-dusk": rows}))
    for name in ("stpl_first", "distance_closed", "flow_matters"):
        assert verdicts[name] is None and measured()[name].startswith("1 of 3 seeds; so far ")
    rows["stpl"] = row(*[run(49.0, 49.0, 49.0)] * 3)
    verdicts = results(rivals=table(**{"camvid-dusk": rows}))
    assert all(verdicts[name] for name in ("stpl_first", "distance_closed", "flow_matters"))


@pytest.mark.parametrize(("zero", "other", "holds"), [(44.0, 45.0, True), (44.0, 46.5, False), (46.0, 40.0, False)])
def test_stpl_must_be_above_both_of_its_controls(results, measured, zero, other, holds):
    rows = {"stpl": one(46.0), "stpl, zero flow": one(zero), "stpl, random past frame": one(other)}
    assert results(rivals=table(rain=rows))["flow_matters"] is holds
    assert measured()["flow_matters"] == f"stpl 46.0; stpl, zero flow {zero}; stpl, random past frame {other}"


def calibrated(gain: float, *, networks=claims.NETWORKS, domains=claims.MEASURED_ON) -> dict:
    """What `calibration.py` writes, `gain` the last one and the others 1.0."""
    pairs = [(n, d) for n in networks for d in domains if claims.has_source(n, d)]
    found: dict = {network: {} for network in networks}
    for number, (network, domain) in enumerate(pairs, 1):
        curves = {"as they are": 40.0, "gamma 0.7": 40.0 + (gain if number == len(pairs) else 1.0)}
        found[network][domain] = {"curves": curves, "chosen": {"agreement": "gamma 0.7", "entropy": "as they are"}}
    return {"networks": found}


@pytest.mark.parametrize(("gain", "holds"), [(-0.2, True), (-0.4, False)])
def test_the_calibration_must_be_safe_on_the_test_domains(results, measured, gain, holds):
    assert results(calibration=calibrated(gain))["calibration_is_safe"] is holds
    # Of CamVid there is no network with group normalisation.
    assert measured()["calibration_is_safe"] == f"8 choices, the worst {gain:+.2f}: group-norm on snow"


def test_the_calibration_is_open_where_it_was_not_measured(results, measured):
    assert results(calibration=calibrated(1.0, domains=("dusk", "night")))["calibration_is_safe"] is None
    assert results(calibration=calibrated(1.0, domains=("rain", "snow")))["calibration_is_safe"] is None
    assert measured()["calibration_is_safe"].startswith("6 of 8 measured; so far 6 choices")


@pytest.mark.parametrize(("last_two", "holds"), [((45.0, 46.0), True), ((46.0, 45.0), False)])
def test_the_papers_order(results, last_two, holds):
    values = (41.0, 42.0, 43.0, 44.0, *last_two)
    rows = {name: one(value) for name, value in zip(adaptation_tables.PAPER_ORDER, values, strict=True)}
    assert results(ablation=table(rain=rows))["paper_order"] is holds
    rows["spatial"] = row(run(44.0, 44.0, 44.0), None)
    assert results(ablation=table(rain=rows))["paper_order"] is None


BEFORE = {"source": one(40.0), "input calibration": one(41.0), "bn": one(42.0)}
HOSTILE = {**BEFORE, "stpl": row(*[run(30.0, 41.0, 41.5)] * 8), "stpl, guarded": row(*[run(41.0, 41.0, 41.2)] * 8)}
RATE = {**BEFORE, "stpl": one(43.0), "stpl, guarded": one(43.0)}
RIVALS = {**BEFORE, "tent": row(run(38.0, 40.9, 41.5), run(38.0, 41.0, 41.5))}
RIVALS["oracle"] = {**one(20.0), "oracle": True}  # fine-tuned on labels: no guard selects there


def benign(selected: float, runs: int = 12) -> dict:
    """The best snapshot is 44."""
    guarded = row(*[run(43.0, selected, 43.9)] * runs)
    return {**BEFORE, "stpl": row(*[run(39.0, 43.0, 44.0)] * runs), "stpl, guarded": guarded}


def guards_tables(**changed: dict) -> dict[str, dict]:
    rows = {"guard_benign": benign(43.6), "guard_hostile": HOSTILE, "guard_hostile_rate": RATE, "rivals": RIVALS}
    return {name: table(street=content) for name, content in {**rows, **changed}.items()}


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
    verdicts = results(**guards_tables(guard_benign=benign(selected)))
    assert verdicts["guard_loses_little"] is safe and verdicts["guard_keeps_the_gain"] is keeps


def test_the_guard_is_measured_by_the_better_of_source_and_calibrated_source(results, measured):
    """Hostile video spoils the calibration, too: 40 is far below the source model's 41.5."""
    guarded = row(*[run(40.0, 40.0, 40.0)] * 8)
    spoilt = {**HOSTILE, "source": one(41.5), "input calibration": one(39.0), "stpl, guarded": guarded}
    assert results(**guards_tables(guard_hostile=spoilt))["guard_loses_little"] is False
    assert "the worst -1.50: stpl on street, seed 0" in measured()["guard_loses_little"]


def test_what_the_guard_selects_of_every_rival_counts(results, measured):
    assert results(**guards_tables())["selection_loses_little"] is True
    assert measured()["guard_loses_little"] == "21 runs, the worst +0.00: stpl on street, seed 0"
    assert measured()["selection_loses_little"] == "2 runs, the worst -0.10: tent on street, seed 0"
    decayed = {**RIVALS, "tent": row(run(38.0, 40.9, 41.5), run(35.0, 38.0, 41.5))}
    verdicts = results(**guards_tables(rivals=decayed))
    assert verdicts["selection_loses_little"] is False and verdicts["guard_loses_little"] is True
    assert measured()["selection_loses_little"] == "2 runs, the worst -3.00: tent on street, seed 1"


def test_the_guards_claims_are_open_while_seeds_are_missing(results, measured):
    missing = {**benign(43.6), "stpl": row(*[run(39.0, 43.0, 44.0)] * 12, None)}
    verdicts = results(**guards_tables(guard_benign=missing))
    assert verdicts["guard_loses_little"] is None and verdicts["guard_keeps_the_gain"] is None
    assert measured()["guard_loses_little"].startswith("guard-benign 12 of 13 seeds; so far 21 runs, ")
    assert measured()["guard_keeps_the_gain"].startswith("12 of 13 seeds; so far 80 %")
    tables = guards_tables(rivals={**RIVALS, "hcl": row(run(43.0, 43.0, 43.0), None)})
    assert results(**tables)["selection_loses_little"] is None
    assert measured()["selection_loses_little"].startswith("1 of 2 seeds; so far ")


def test_twenty_runs_are_asked_for(results):
    verdicts = results(**guards_tables(guard_benign=benign(43.6, runs=10)))
    assert verdicts["guard_loses_little"] is None and verdicts["guard_keeps_the_gain"] is None


def test_a_refuted_guarantee_alone_fails_the_check(results, tmp_path, capsys):
    rivals = {"source": one(40.0), "hcl": one(49.0), "stpl": one(45.0), "oracle": one(50.0)}
    verdicts = results(**guards_tables(rivals=rivals), calibration=calibrated(1.0))
    assert verdicts["stpl_first"] is False and all(verdicts[claim.__name__] for claim in claims.GUARANTEES)
    assert claims.main(["--results", str(tmp_path)]) == 0
    assert "goal, REFUTED: STPL is first" in capsys.readouterr().out
    for broken in ({"guard_benign": table(street=benign(42.5))}, {"calibration": calibrated(-0.4)}):
        results(**guards_tables(rivals=rivals), calibration=calibrated(1.0))
        results(**broken)
        assert claims.main(["--results", str(tmp_path)]) == 1
        assert "guarantee, REFUTED: " in capsys.readouterr().out
