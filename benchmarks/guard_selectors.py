"""The guard against published ways to choose a snapshot without labels, on the runs of the guard's tables.

    python benchmarks/guard_selectors.py --data "$STPL_CAMVID"

Of every finished run of `guard-benign`, `guard-hostile` and `guard-hostile-rate` that trained without the guard's hand
on it: which snapshot each criterion chooses (their weights are kept with the runs), and what that loses or gains. Says
whether the guard's proof holds. A domain that was finished in an earlier sitting is not computed again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import snapshot_selectors as selectors
from catalogue import GROUPS, TABLES, Table
from code_digest import ROOT
from execution import snapshot_file, write_json
from record import write_result
from runs import Bench
from summary import score
from videos import Domain, open_video

import stpl_rt  # noqa: F401  the runtime's library before anything else loads one
from stpl.data.batches import PreparedVideo
from stpl.data.in_memory import InMemory
from stpl.errors import UserError
from stpl.train.checkpoint import load_checkpoint

GUARDED_ROW = ", guarded"
"""What the name of a row under the hand of the guard ends with."""
LOOKING_ON, ACTING, BEST = "guard, looking on", "guard", "best (needs labels)"
MOST_LOST, LEAST_KEPT, LEAST_RUNS, LEAST_BENIGN = 0.5, 0.7, 20, 12


@dataclass(frozen=True)
class Trained:
    """A run without the guard's hand on it, the same under the guard, and what came before training."""

    table: str
    domain: Domain
    method: str
    seed: int
    folder: Path
    start_folder: Path
    untouched: dict[str, Any]
    guarded: dict[str, Any]
    before: dict[str, float]
    """Scores of ``source``, ``input calibration`` and ``bn``, the start of training."""

    @property
    def scores(self) -> dict[int, float]:
        """mIoU, percent, by step; the start of training at 0."""
        measured = {int(step): score(snapshot) for step, snapshot in self.untouched["snapshots"].items()}
        return {0: self.before["bn"], **dict(sorted(measured.items()))}

    @property
    def guarded_scores(self) -> list[float]:
        """Of the snapshots of the run under the guard."""
        return [score(snapshot) for snapshot in self.guarded["snapshots"].values()]

    @property
    def kept_looking_on(self) -> float:
        """Score of what the guard would have kept of this very training."""
        for event in self.untouched["guard"]:
            if event["event"] == "guard_stage":
                return self.before["source" if event["stage"] == "adapt" else "bn"]
        return self.scores[self.untouched["selected"]["step"]]


def trained_runs(bench: Bench, table: Table) -> Iterator[Trained]:
    """The table's finished runs, in its order."""
    rows = {row.name: row for row in table.rows}
    for domain, row, seed in table.runs():
        guarded = rows.get(row.name + GUARDED_ROW)
        if guarded is None:
            continue
        try:
            start = table.run(domain, rows["bn"], table.seeds[0])
            before = {
                name: bench.result(table.run(domain, rows[name], table.seeds[0]))
                for name in ("source", "input calibration", "bn")
            }
            untouched, acting = (bench.result(table.run(domain, r, seed)) for r in (row, guarded))
            if untouched is None or acting is None or any(result is None for result in before.values()):
                continue
            found = {name: score(result["selected"]) for name, result in before.items() if result is not None}
            where = bench.folder(table.run(domain, row, seed)), bench.folder(start)
        except UserError:  # data that is not at hand
            continue
        if all(snapshot_file(where[0], int(step)).is_file() for step in untouched["snapshots"]):
            yield Trained(table.name, domain, row.name, seed, *where, untouched, acting, found)


def domain_scores(bench: Bench, runs: Sequence[Trained]) -> dict[str, dict[str, dict[int, float]]]:
    """By run's folder, criterion and step, for the runs on one domain; kept beside the runs."""
    code = Path(selectors.__file__).read_bytes() + Path(__file__).read_bytes()
    names = "\n".join(run.folder.name for run in runs)
    digest = hashlib.sha256(code + names.encode()).hexdigest()[:16]
    file = bench.out / "selectors" / f"{runs[0].domain.name}-{digest}.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, _computed_scores(bench, runs))
    stored = json.loads(file.read_text(encoding="utf-8"))
    return {
        folder: {name: {int(step): value for step, value in by_step.items()} for name, by_step in criteria.items()}
        for folder, criteria in stored.items()
    }


def _computed_scores(bench: Bench, runs: Sequence[Trained]) -> dict[str, dict[str, dict[int, float]]]:
    video, _ = open_video(runs[0].domain, bench.camvid)
    start = load_checkpoint(runs[0].start_folder)
    frames = selectors.Frames(PreparedVideo(InMemory(video), start.input.spec()))
    beginning = frames.opinion(start.build())
    opinions = {}
    for run in runs:
        own = {0: beginning}
        for step in list(run.scores)[1:]:
            own[step] = frames.opinion(load_checkpoint(snapshot_file(run.folder, step)).build())
        opinions[run.folder.name] = own
    everyone = [beginning, *(own[step] for own in opinions.values() for step in own if step)]
    found: dict[str, dict[str, dict[int, float]]] = {}
    for run in runs:
        own = opinions[run.folder.name]
        criteria = {name: {step: opinion.scores[name] for step, opinion in own.items()} for name in beginning.scores}
        for name, others in (("own mean", list(own.values())), ("EnsV", everyone)):
            agreed = selectors.agreement_with_mean(list(own.values()), others)
            criteria[name] = dict(zip(own, agreed, strict=True))
        trusted = {event["step"] + 1: event["trust"] for event in run.untouched["guard"] if event["event"] == "guard"}
        criteria["trust"] = {0: 1.0, **trusted}
        criteria["last"] = {step: float(step) for step in own}
        found[run.folder.name] = criteria
    return found


def chosen(run: Trained, criteria: dict[str, dict[int, float]]) -> dict[str, float]:
    """The mIoU of what each criterion, and the guard, keep of a run."""
    scores = run.scores
    kept = {name: scores[selectors.chosen_step(name, criteria[name])] for name in selectors.SOURCES}
    guarded = score(run.guarded["selected"])
    return {**kept, LOOKING_ON: run.kept_looking_on, ACTING: guarded, BEST: max(scores.values())}


def compared(bench: Bench, tables: Sequence[Table], benign: str = "guard-benign") -> dict[str, Any]:
    """Everything, as JSON."""
    runs = [run for table in tables for run in trained_runs(bench, table)]
    by_domain: dict[str, list[Trained]] = {}
    for run in runs:
        by_domain.setdefault(run.domain.name, []).append(run)
    lines: list[dict[str, Any]] = []
    correlations: dict[str, list[float]] = {name: [] for name in selectors.SOURCES}
    for domain_runs in by_domain.values():
        values = domain_scores(bench, domain_runs)
        for name, found in correlations.items():
            found.extend(_correlation(name, domain_runs, values))
        for run in domain_runs:
            lines.append(
                {
                    "table": run.table,
                    "domain": run.domain.name,
                    "method": run.method,
                    "seed": run.seed,
                    "benign": run.table == benign,
                    **run.before,
                    "snapshots": run.scores,
                    "guarded_best": max(run.guarded_scores, default=run.before["bn"]),
                    "kept": chosen(run, values[run.folder.name]),
                }
            )
    names = (*selectors.SOURCES, LOOKING_ON, ACTING, BEST)
    summary = {name: {**outcome(name, lines), "correlation": _mean(correlations.get(name, []))} for name in names}
    asked_for = sum(row.name.endswith(GUARDED_ROW) for table in tables for _, row, _ in table.runs())
    return {"runs": lines, "of": asked_for, "selectors": summary if lines else {}, "sources": selectors.SOURCES}


def outcome(name: str, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a criterion loses in its worst run, and the share of the best snapshot's gain that it keeps (median)."""
    if not lines:
        return {}
    shares = []
    for line in lines:
        best = max(line["kept"][BEST], line["guarded_best"] if name == ACTING else line["bn"])
        if line["benign"] and best > line["bn"]:
            shares.append((line["kept"][name] - line["bn"]) / (best - line["bn"]))
    return {
        # Hostile video spoils the calibration, too: the model that was given is then the one not to fall behind.
        "against_source": min(line["kept"][name] - max(line["source"], line["input calibration"]) for line in lines),
        "against_start": min(line["kept"][name] - line["bn"] for line in lines),
        "benign_mean": _mean([line["kept"][name] - line["bn"] for line in lines if line["benign"]]),
        "share_of_gain": median(shares) if shares else None,
        "runs_with_gain": len(shares),
    }


def proof(found: dict[str, Any]) -> tuple[bool | None, list[str]]:
    """Whether the guard does what is asked of it (None: too few runs yet), and the numbers."""
    runs = found["runs"]
    benign = sum(run["benign"] for run in runs)
    lines = [f"{len(runs)} of {found['of']} runs are there: {benign} benign, {len(runs) - benign} hostile"]
    if not runs:
        return None, lines
    guard = found["selectors"][ACTING]
    worst = guard["against_source"]
    text = "worst against the source model, as it is or calibrated, whichever is better"
    lines.append(f"{text}: {worst:+.2f} (at least -{MOST_LOST})")
    lines.append(f"worst against the model that training starts from: {guard['against_start']:+.2f}")
    share = guard["share_of_gain"]
    if share is not None:
        text = f"of the best snapshot's gain, in the median of {guard['runs_with_gain']} benign runs with a gain"
        lines.append(f"{100 * share:.0f} % {text} (at least {100 * LEAST_KEPT:.0f} %)")
    if len(runs) < LEAST_RUNS or benign < LEAST_BENIGN:
        return None, [*lines, f"open: {LEAST_RUNS} runs are asked for, {LEAST_BENIGN} of them benign"]
    holds = worst >= -MOST_LOST and share is not None and share >= LEAST_KEPT
    return holds, [*lines, "holds" if holds else "REFUTED"]


def _correlation(name: str, runs: Sequence[Trained], values: dict[str, dict[str, dict[int, float]]]) -> Iterator[float]:
    """Of a criterion with the mIoU, over all candidates of a domain; the start, which all runs share, counts once."""
    pairs = []
    for number, run in enumerate(runs):
        by_step = values[run.folder.name][name]
        pairs += [(by_step[step], run.scores[step]) for step in by_step if step or number == 0]
    found = selectors.rank_correlation(*zip(*pairs, strict=True)) if len(pairs) > 2 else None
    if found is not None:
        yield found


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    camvid = os.environ.get("STPL_CAMVID")
    parser.add_argument("--data", type=Path, default=Path(camvid) if camvid else None, help="CamVid (STPL_CAMVID)")
    parser.add_argument("--camvid-source", type=Path, default=None, help="its source model, in place of training one")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="the runs' folder")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args(arguments)
    sources = {"camvid-day": args.camvid_source} if args.camvid_source is not None else {}
    found = compared(Bench(args.out, args.data, sources, ROOT), [TABLES[name] for name in GROUPS["guard"]])
    holds, lines = proof(found)
    print("\n".join(lines))
    print(write_result("guard_selectors", found, args.json))
    return 1 if holds is False else 0


if __name__ == "__main__":
    sys.exit(main())
