"""Whether the measured tables bear out what is claimed of the method and its guard.

    python benchmarks/claims.py

Reads benchmarks/results/ and writes benchmarks/results/claims.json. A claim is open, neither held nor refuted, until
every run that it needs is finished: all rows, domains and seeds of its tables. Exits with 1 where a guarantee, what a
user relies on, is refuted; a refuted goal is a result, and only said.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from adaptation_tables import PAPER_ORDER, finished, mean, over_domains
from calibration import NETWORKS, UNSEEN, has_source
from catalogue import BEFORE_TRAINING, CONTROLS, GROUPS, MEASURED_ON
from record import RESULTS, write_result

Record = dict[str, Any]
Read = Callable[[str], Record | None]
"""A table's results by its name; None where it has not been computed."""
Verdict = tuple[bool | None, str]
"""Whether a claim holds (None: open), and what was measured."""

CONTROL_NAMES = tuple(row.name for row in CONTROLS)
UNTRAINED = tuple(row.name for row in BEFORE_TRAINING)
MOST_LOST = 0.5
MOST_LOST_BY_CALIBRATION = 0.3
LEAST_KEPT = 0.7
CLOSED_ON_CAMVID = 0.8


def stpl_first(read: Read) -> Verdict:
    """STPL is first in the mean over the domains of the rivals' table, by the selected snapshots."""
    table = read("rivals")
    if table is None:
        return None, "not run"
    names = [name for name in _names(table) if name not in ("oracle", *CONTROL_NAMES)]
    means, missing = _means(table, names)
    order = sorted(means, key=means.__getitem__, reverse=True)
    holds = None if missing or "stpl" not in means else order[0] == "stpl"
    return holds, _said(missing, _listed({name: means[name] for name in order}))


def flow_matters(read: Read) -> Verdict:
    """STPL is above both of its controls (zero flow, a random past frame) in the mean over the domains of the rivals'
    table, by the selected snapshots."""
    table = read("rivals")
    if table is None:
        return None, "not run"
    means, missing = _means(table, ["stpl", *CONTROL_NAMES])
    holds = None if missing else all(means["stpl"] > means[name] for name in CONTROL_NAMES)
    return holds, _said(missing, _listed(means))


def paper_order(read: Read) -> Verdict:
    """Self-training < duplicate < temporal < spatial < both < STPL in the mean over the domains, last snapshots."""
    table = read("ablation")
    if table is None:
        return None, "not run"
    means, missing = _means(table, PAPER_ORDER, "last")
    holds = None if missing else all(a < b for a, b in pairwise(means[name] for name in PAPER_ORDER))
    return holds, _said(missing, _listed(means))


def purest_neighbours(read: Read) -> Verdict:
    """Of the ablation's rows STPL's features have the purest neighbourhoods, in the mean over the domains and over all
    numbers of neighbours."""
    found = read("purity")
    if found is None:
        return None, "not run"
    means = {
        name: fmean(fmean(curve["mean"] for curve in rows[name].values()) for rows in found["domains"].values())
        for name in PAPER_ORDER
        if all(name in rows for rows in found["domains"].values())
    }
    order = dict(sorted(means.items(), key=lambda item: -item[1]))
    missing = f"{len(means)} of {len(PAPER_ORDER)} rows" if len(means) < len(PAPER_ORDER) else ""
    return None if missing else next(iter(order)) == "stpl", _said(missing, _listed(order))


def distance_closed(read: Read) -> Verdict:
    """STPL closes 80 % of the distance from source to oracle on CamVid's dusk (a goal), by the selected snapshots."""
    table = read("rivals")
    rows = {} if table is None else table["domains"].get("camvid-dusk", {}).get("rows", {})
    source, stpl, oracle = (mean(rows.get(name)) for name in ("source", "stpl", "oracle"))
    if source is None or stpl is None or oracle is None:
        return None, "not run"
    missing = seeds_missing(rows[name] for name in ("source", "stpl", "oracle"))
    share = (stpl - source) / (oracle - source)
    measured = f"{100 * share:.0f} % (source {source:.1f}, STPL {stpl:.1f}, oracle {oracle:.1f})"
    return None if missing else share >= CLOSED_ON_CAMVID, _said(missing, measured)


def calibration_is_safe(read: Read) -> Verdict:
    """On no test domain and with no network does input calibration lose more than 0.3 mIoU against the frames as they
    are."""
    return _calibration_loses_little(read, MEASURED_ON, NETWORKS)


def calibration_is_safe_elsewhere(read: Read) -> Verdict:
    """Nor does it on streets that were first opened after its margins were set, with the network with batch-norm,
    re-estimated or not."""
    return _calibration_loses_little(read, UNSEEN, NETWORKS[:2])


def _calibration_loses_little(read: Read, domains: Iterable[str], networks: Sequence[str]) -> Verdict:
    results = read("calibration") or {"networks": {}}
    wanted = [(network, domain) for domain in domains for network in networks if has_source(network, domain)]
    gains = {}
    for network, domain in wanted:
        row = results["networks"].get(network, {}).get(domain)
        if row is not None:
            curves = row["curves"]
            gains[f"{network} on {domain}"] = curves[row["chosen"]["agreement"]] - curves["as they are"]
    if not gains:
        return None, "not run"
    worst = min(gains, key=gains.__getitem__)
    missing = f"{len(gains)} of {len(wanted)} measured" if len(gains) < len(wanted) else ""
    holds = None if missing else gains[worst] >= -MOST_LOST_BY_CALIBRATION
    return holds, _said(missing, f"{len(gains)} choices, the worst {gains[worst]:+.2f}: {worst}")


def guard_loses_little(read: Read) -> Verdict:
    """What is selected in 20 runs under the guard's hand is never more than 0.5 mIoU below the source model, as it is
    or calibrated, whichever is better there."""
    tables = {name: read(name) for name in GROUPS["guard"]}
    losses = [
        (name, run["selected"]["score"] - reference)
        for table in tables.values()
        for name, run, _, reference, _ in guarded_runs(table)
    ]
    missing = [f"{name} not run" for name, table in tables.items() if table is None]
    for name, table in tables.items():
        if table is not None and (seeds := seeds_missing(_guards_rows(table))):
            missing.append(f"{name} {seeds}")
    if len(losses) < 20:
        missing.append(f"{len(losses)} of 20 runs")
    return _little_is_lost(losses, ", ".join(missing))


def selection_loses_little(read: Read) -> Verdict:
    """Where the guard only looks on, in every run of the rivals' table, what it selects is never more than 0.5 mIoU
    below the source model, as it is or calibrated, whichever is better there."""
    table = read("rivals")
    if table is None:
        return None, "not run"
    return _little_is_lost(list(_observed_runs(table)), seeds_missing(_guards_rows(table, everything=True)))


def _little_is_lost(losses: list[tuple[str, float]], missing: str) -> Verdict:
    if not losses:
        return None, missing
    worst, lost = min(losses, key=lambda loss: loss[1])
    measured = f"{len(losses)} runs, the worst {lost:+.2f}: {worst}"
    return None if missing else lost >= -MOST_LOST, _said(missing, measured)


def guard_keeps_the_gain(read: Read) -> Verdict:
    """In 12 benign runs the guard keeps 70 % of the best snapshot's gain over the start of training, in the median."""
    table = read("guard-benign")
    if table is None:
        return None, "not run"
    kept = []
    for _, run, untouched, _, start in guarded_runs(table):
        best = max(run["best"]["score"], untouched["best"]["score"])
        if best > start:
            kept.append((run["selected"]["score"] - start) / (best - start))
    missing = seeds_missing(_guards_rows(table))
    if len(kept) < 12:
        missing = ", ".join(filter(None, [missing, f"{len(kept)} of 12 runs"]))
    measured = f"{100 * median(kept):.0f} % over {len(kept)} runs with a gain" if kept else ""
    return None if missing else median(kept) >= LEAST_KEPT, _said(missing, measured)


def guarded_runs(table: Record | None) -> Iterator[tuple[str, Record, Record, float, float]]:
    """Name, guarded run, the same run untouched, the source model's score (:func:`reference`) and the start's."""
    for domain, content in (table or {"domains": {}})["domains"].items():
        rows = content["rows"]
        source, start = reference(rows), mean(rows.get("bn"))
        for name, row in rows.items():
            method, comma, _ = name.partition(", guarded")
            if not comma or source is None or start is None:
                continue
            for seed, run in row["runs"].items():
                untouched = rows[method]["runs"].get(seed)
                if run is not None and untouched is not None:
                    yield f"{method} on {domain}, seed {seed}", run, untouched, source, start


def reference(rows: Record) -> float | None:
    """The source model's score, as it is or calibrated, whichever is better: hostile video spoils the calibration."""
    found = [mean(rows.get(name)) for name in ("source", "input calibration")]
    known = [score for score in found if score is not None]
    return max(known) if len(known) == len(found) else None


def seeds_missing(rows: Iterable[Record]) -> str:
    """How many seeds all of the rows have, as "k of n seeds"; empty where none is missing. A row of one seed is whole
    with that one."""
    counts = [(len(finished(row)), len(row["runs"])) for row in rows]
    wanted = max((of for _, of in counts), default=0)
    done = min((done for done, of in counts if done < of), default=wanted)
    return "" if done == wanted else f"{done} of {wanted} seeds"


def _observed_runs(table: Record | None) -> Iterator[tuple[str, float]]:
    """Name, and what is selected against the source model, of every run that trained while the guard looked on."""
    for domain, content in (table or {"domains": {}})["domains"].items():
        source = reference(content["rows"])
        for name, row in content["rows"].items():
            if source is None or row["oracle"] or name in UNTRAINED:
                continue
            for seed, run in row["runs"].items():
                if run is not None:
                    yield f"{name} on {domain}, seed {seed}", run["selected"]["score"] - source


def _guards_rows(table: Record, *, everything: bool = False) -> Iterator[Record]:
    """What the verdict on the guard is made of: models before training, guarded rows and the same untouched."""
    for content in table["domains"].values():
        rows = content["rows"]
        guarded = [name for name in rows if name.endswith(", guarded")]
        used = {*UNTRAINED, *guarded, *(name.removesuffix(", guarded") for name in guarded)}
        yield from (row for name, row in rows.items() if name in used or (everything and not row["oracle"]))


def _names(table: Record) -> list[str]:
    return list(next(iter(table["domains"].values()))["rows"])


def _means(table: Record, names: Iterable[str], which: str = "selected") -> tuple[dict[str, float], str]:
    """The rows' means over the domains, and what is missing for them: rows, or seeds."""
    names = list(names)
    found = {name: over_domains(table, name, which) for name in names}
    absent = [name for name in names if not found[name]]
    means = {name: fmean(values) for name, values in found.items() if values}
    if absent:
        return means, f"not run on every domain: {', '.join(absent)}"
    return means, seeds_missing(content["rows"][name] for content in table["domains"].values() for name in names)


def _listed(means: dict[str, float]) -> str:
    return "; ".join(f"{name} {value:.1f}" for name, value in means.items())


def _said(missing: str, measured: str) -> str:
    """What is still to come, and what was measured so far."""
    return f"{missing}; so far {measured}" if missing and measured else missing or measured


CLAIMS = (
    stpl_first,
    flow_matters,
    paper_order,
    purest_neighbours,
    distance_closed,
    calibration_is_safe,
    calibration_is_safe_elsewhere,
    guard_loses_little,
    selection_loses_little,
    guard_keeps_the_gain,
)


GUARANTEES = (calibration_is_safe, guard_loses_little, guard_keeps_the_gain)
"""What a user relies on; the other claims are goals."""


def check(results: Path) -> list[Record]:
    """Every claim with its verdict."""

    def read(name: str) -> Record | None:
        file = results / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8"))["results"] if file.is_file() else None

    found = []
    for claim in CLAIMS:
        holds, measured = claim(read)
        text = " ".join((claim.__doc__ or "").split())
        found.append({"claim": text, "guarantee": claim in GUARANTEES, "holds": holds, "measured": measured})
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    found = check(args.results)
    for entry in found:
        verdict = {True: "holds", False: "REFUTED", None: "open"}[entry["holds"]]
        print(f"{'guarantee' if entry['guarantee'] else 'goal'}, {verdict}: {entry['claim']} {entry['measured']}")
    print(write_result("claims", {"claims": found}, args.results / "claims.json"))
    return 1 if any(entry["guarantee"] and entry["holds"] is False for entry in found) else 0


if __name__ == "__main__":
    sys.exit(main())
