"""Whether the measured tables bear out what is claimed of the method and its guard.

    python benchmarks/claims.py

Reads benchmarks/results/, writes benchmarks/results/claims.json, and exits with 1 where a claim does not hold. A claim
whose runs are missing is open: neither held nor refuted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from adaptation_tables import PAPER_ORDER, mean
from record import RESULTS, write_result

Record = dict[str, Any]
Verdict = tuple[bool | None, str]
"""Whether a claim holds (None: open), and what was measured."""

NOT_METHODS = ("oracle", "stpl, zero flow", "stpl, random past frame")
MOST_LOST = 0.5
LEAST_KEPT = 0.7
CLOSED_ON_CAMVID = 0.8


def stpl_first(read: Callable[[str], Record | None]) -> Verdict:
    """STPL is first in the mean over the domains of the rivals' table, by the selected snapshots."""
    table = read("rivals")
    if table is None:
        return None, "not run"
    names = [name for name in next(iter(table["domains"].values()))["rows"] if name not in NOT_METHODS]
    over_domains: dict[str, float] = {}
    for name in names:
        values = [mean(content["rows"][name]) for content in table["domains"].values()]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            over_domains[name] = fmean(known)
    if "stpl" not in over_domains or len(over_domains) < len(names):
        missing = [name for name in names if name not in over_domains]
        return None, f"not run on every domain: {', '.join(missing)}"
    order = sorted(over_domains, key=over_domains.__getitem__, reverse=True)
    return order[0] == "stpl", ", ".join(f"{name} {over_domains[name]:.1f}" for name in order)


def paper_order(read: Callable[[str], Record | None]) -> Verdict:
    """Self-training < duplicate < temporal < spatial < both < STPL in the mean over the domains, last snapshots."""
    table = read("ablation")
    if table is None:
        return None, "not run"
    values = []
    for name in PAPER_ORDER:
        found = [mean(content["rows"][name], "last") for content in table["domains"].values()]
        known = [value for value in found if value is not None]
        if len(known) < len(found):
            return None, f"{name}: not run on every domain"
        values.append(fmean(known))
    measured = ", ".join(f"{name} {value:.1f}" for name, value in zip(PAPER_ORDER, values, strict=True))
    return all(a < b for a, b in pairwise(values)), measured


def distance_closed(read: Callable[[str], Record | None]) -> Verdict:
    """STPL closes 80 % of the distance from source to oracle on CamVid's dusk (a goal), by the selected snapshots."""
    table = read("rivals")
    rows = {} if table is None else table["domains"].get("camvid-dusk", {}).get("rows", {})
    source, stpl, oracle = (mean(rows.get(name)) for name in ("source", "stpl", "oracle"))
    if source is None or stpl is None or oracle is None:
        return None, "not run"
    share = (stpl - source) / (oracle - source)
    return share >= CLOSED_ON_CAMVID, f"{100 * share:.0f} % (source {source:.1f}, STPL {stpl:.1f}, oracle {oracle:.1f})"


def guard_loses_little(read: Callable[[str], Record | None]) -> Verdict:
    """What is selected under the guard is never more than 0.5 mIoU below the calibrated source model, in 20 runs."""
    runs = [
        (name, run["selected"]["score"] - calibrated)
        for table in ("guard-benign", "guard-hostile", "guard-hostile-rate")
        for name, run, _, calibrated, _ in guarded_runs(read(table))
    ]
    if len(runs) < 20:
        return None, f"{len(runs)} of 20 runs"
    worst = min(runs, key=lambda run: run[1])
    return worst[1] >= -MOST_LOST, f"{len(runs)} runs, the worst {worst[1]:+.2f}: {worst[0]}"


def guard_keeps_the_gain(read: Callable[[str], Record | None]) -> Verdict:
    """In 12 benign runs the guard keeps 70 % of the best snapshot's gain over the start of training, in the median."""
    kept = []
    for _, run, untouched, _, start in guarded_runs(read("guard-benign")):
        best = max(run["best"]["score"], untouched["best"]["score"])
        if best > start:
            kept.append((run["selected"]["score"] - start) / (best - start))
    if len(kept) < 12:
        return None, f"{len(kept)} of 12 runs"
    return median(kept) >= LEAST_KEPT, f"{100 * median(kept):.0f} % over {len(kept)} runs with a gain"


def guarded_runs(table: Record | None) -> Iterator[tuple[str, Record, Record, float, float]]:
    """Name, guarded run, the same run untouched, the calibrated source's score and the start of training's."""
    for domain, content in (table or {"domains": {}})["domains"].items():
        rows = content["rows"]
        calibrated, start = mean(rows.get("input calibration")), mean(rows.get("bn"))
        for name, row in rows.items():
            method, comma, _ = name.partition(", guarded")
            if not comma or calibrated is None or start is None:
                continue
            for seed, run in row["runs"].items():
                untouched = rows[method]["runs"].get(seed)
                if run is not None and untouched is not None:
                    yield f"{method} on {domain}, seed {seed}", run, untouched, calibrated, start


CLAIMS = (stpl_first, paper_order, distance_closed, guard_loses_little, guard_keeps_the_gain)


def check(results: Path) -> list[Record]:
    """Every claim with its verdict."""

    def read(name: str) -> Record | None:
        file = results / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8"))["results"] if file.is_file() else None

    found = []
    for claim in CLAIMS:
        holds, measured = claim(read)
        text = (claim.__doc__ or "").strip()
        found.append({"claim": text, "holds": holds, "measured": measured})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    found = check(args.results)
    for entry in found:
        verdict = {True: "holds", False: "REFUTED", None: "open"}[entry["holds"]]
        print(f"{verdict}: {entry['claim']} {entry['measured']}")
    print(write_result("claims", {"claims": found}, args.results / "claims.json"))
    return 1 if any(entry["holds"] is False for entry in found) else 0


if __name__ == "__main__":
    sys.exit(main())
