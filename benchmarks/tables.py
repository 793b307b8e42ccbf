"""Computes tables of adaptations, over as many sittings as it takes: what is finished is not run again.

    python benchmarks/tables.py rivals --data "$STPL_CAMVID" --jobs 2
    python benchmarks/tables.py fusion lambda --seeds 0
    python benchmarks/tables.py rivals --list

Runs lie under --out, each keyed by its settings, its source model, its data and the code it executes; the table goes
to benchmarks/results/TABLE.json (`make_tables.py` shows it). Ctrl-C saves the runs in hand; the same command goes on.
Two commands may work at the same folder. Runs execute a copy of the code made when the command begins, so that the
package may be edited meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalogue import GROUPS, TABLES, Row, Table
from code_digest import ROOT
from frozen import freeze
from older import merged
from record import RESULTS, write_result
from rich.console import Console
from runner import Runner
from runs import Bench, Run, SourceTraining
from summary import summarise
from videos import DOMAINS, Domain

import stpl_rt  # noqa: F401  the runtime's library before anything else loads one
from stpl.errors import UserError

Cell = tuple[Domain, Row, int]


class Plan:
    """The runs of some tables, and those that cannot be: a setting or data that is not at hand."""

    def __init__(self, bench: Bench, tables: Sequence[Table]) -> None:
        self.bench = bench
        self.tables = tables
        self.runs: dict[tuple[str, Cell], Run] = {}
        self.refused: dict[tuple[str, str, str], str] = {}
        """Why, by table, domain and row."""
        for table in tables:
            for cell in table.runs():
                self._add(table, cell)

    def keeps_snapshots(self, run: Run) -> bool:
        """Whether a table that holds the run computes something from its snapshots."""
        return any(
            table.keep_snapshots and self.runs.get((table.name, cell)) == run
            for table in self.tables
            for cell in table.runs()
        )

    def record(self, table: Table, previous: dict[str, Any]) -> dict[str, Any]:
        """The table's results as JSON: what is finished, and of the record before what was not found again."""
        domains = {
            domain.name: {
                "spec": domain.spec,
                "view": domain.view,
                "rows": {row.name: self._row(table, domain, row) for row in table.rows},
            }
            for domain in table.domains
        }
        found = {"title": table.title, "text": table.text, "seeds": list(table.seeds), "domains": domains}
        return merged(found, previous)

    def _add(self, table: Table, cell: Cell) -> None:
        domain, row, seed = cell
        run = table.run(domain, row, seed)
        try:
            self.bench.folder(run)
        except UserError as error:
            self.refused[table.name, domain.name, row.name] = str(error)
        else:
            self.runs[table.name, cell] = run

    def _row(self, table: Table, domain: Domain, row: Row) -> dict[str, Any]:
        seeds = table.seeds if row.repeated else table.seeds[:1]
        runs = {seed: self.runs.get((table.name, (domain, row, seed))) for seed in seeds}
        results = {seed: None if run is None else self.bench.result(run) for seed, run in runs.items()}
        return {
            "overrides": list(row.overrides if row.oracle else (*table.base, *row.overrides)),
            "oracle": row.oracle,
            "runs": {str(seed): None if result is None else summarise(result) for seed, result in results.items()},
            "note": self.refused.get((table.name, domain.name, row.name)),
        }


def selected_tables(args: argparse.Namespace) -> list[Table]:
    """The tables that were asked for, with the seeds, domains and rows that were."""
    names = [name for asked in args.tables for name in GROUPS.get(asked, (asked,))]
    tables = []
    for name in dict.fromkeys(names):
        table = TABLES[name]
        domains = tuple(d for d in table.domains if args.domains is None or d.name in args.domains)
        rows = tuple(r for r in table.rows if args.rows is None or r.name in args.rows)
        seeds = table.seeds if args.seeds is None else tuple(args.seeds)
        keep = table.keep_snapshots or args.keep_snapshots
        tables.append(replace(table, domains=domains, rows=rows, seeds=seeds, keep_snapshots=keep))
    return tables


def train_sources(runner: Runner, tables: Sequence[Table], console: Console) -> bool:
    """Trains the CamVid source model where a table needs it and it is not there; False where that was interrupted."""
    bench = runner.bench
    try:
        needed = any(bench.trains_source(domain) for table in tables for domain in table.domains)
    except UserError as error:  # no CamVid: its rows are left out
        console.print(f"left out: {error}", highlight=False)
        return True
    return not needed or runner.execute(runner.missing([SourceTraining()], lambda _: False))


def say_what_is_there(plan: Plan, console: Console) -> None:
    for table in plan.tables:
        runs = [run for (name, _), run in plan.runs.items() if name == table.name]
        finished = [plan.bench.result(run) is not None for run in runs]
        console.print(f"[bold]{table.name}[/bold]: {sum(finished)} of {len(runs)} runs finished", highlight=False)
        for run, done in zip(runs, finished, strict=True):
            console.print(f"  {'done   ' if done else 'missing'} {plan.bench.folder(run).name}", highlight=False)


def say_what_is_refused(plan: Plan, console: Console) -> None:
    for (table, domain, row), why in plan.refused.items():
        console.print(f"{table}: {row} on {domain} left out: {why}", highlight=False, markup=False)


def write_tables(plan: Plan, whole: Sequence[Table], results: Path) -> list[Path]:
    """A JSON file a table; rows and seeds that this command left aside are looked up, not forgotten.

    Nor is anything that the file held before: see :mod:`older`.
    """
    written = []
    everything = Plan(plan.bench, whole)
    for table in whole:
        file = results / f"{table.name}.json"
        previous: dict[str, Any] = {}
        if file.is_file():
            previous = json.loads(file.read_text(encoding="utf-8"))["results"]
        written.append(write_result(table.name, everything.record(table, previous), file))
    return written


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", choices=[*TABLES, *GROUPS], metavar="TABLE", help=", ".join(
        [*TABLES, *GROUPS]))  # fmt: skip
    camvid = os.environ.get("STPL_CAMVID")
    parser.add_argument("--data", type=Path, default=Path(camvid) if camvid else None, help="CamVid (STPL_CAMVID)")
    parser.add_argument("--camvid-source", type=Path, default=None, help="its source model, in place of training one")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="the runs' folder")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the tables' folder")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--seeds", type=int, nargs="+", default=None)
    parser.add_argument("--domains", nargs="+", default=None)
    parser.add_argument("--rows", nargs="+", default=None)
    parser.add_argument("--keep-snapshots", action="store_true", help="the weights of every snapshot, too")
    parser.add_argument("--list", action="store_true", help="say what is finished and what is missing; run nothing")
    parser.add_argument("--collect", action="store_true", help="write the tables from what is finished; run nothing")
    parser.add_argument("--print-camvid-source", action="store_true", help="say where that lies; run nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    console = Console(stderr=True, soft_wrap=True)
    sources = {"camvid-day": args.camvid_source} if args.camvid_source is not None else {}
    bench = Bench(args.out, args.data, sources, freeze(ROOT, args.out))
    if args.print_camvid_source:
        print(bench.source_path(DOMAINS["camvid-dusk"]))
        return 0
    runner = Runner(bench, args.jobs, console)
    tables = selected_tables(args)
    running = not (args.list or args.collect)
    completed = not running or train_sources(runner, tables, console)
    plan = Plan(bench, tables)
    say_what_is_refused(plan, console)
    if args.list:
        say_what_is_there(plan, console)
        return 0
    if running and completed:
        completed = runner.execute(runner.missing(plan.runs.values(), plan.keeps_snapshots))
    whole = [TABLES[table.name] for table in tables]
    if args.seeds is not None:
        whole = [replace(table, seeds=tuple(sorted({*table.seeds, *args.seeds}))) for table in whole]
    for file in write_tables(plan, whole, args.results):
        console.print(str(file), highlight=False)
    return 130 if not completed else 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main())
