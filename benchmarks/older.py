"""What an older record of a table holds and a new sitting did not find again is kept: no result is ever lost.

A run that the sitting did not find, because the code has changed since or the data or the runs' folder is not at hand,
stays in its place and is marked as kept; its own commit says what computed it. Runs of settings, rows or domains that
the table no longer has go to the record's list ``older``, which is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Record = dict[str, Any]

DESCRIPTION = ("domain", "spec", "view", "row", "overrides", "oracle")
"""What the run of a seed is one of."""


def merged(found: Record, previous: Record) -> Record:
    """The results that a sitting found, completed by those of the record before; ``found`` is changed."""
    older = []
    for entry in _entries(previous):
        row = _place(entry, found)
        if row is None:
            older.append(entry)
        elif row["runs"].get(entry["seed"]) is None:
            row["runs"][entry["seed"]] = {**entry["run"], "kept": True}
            row["runs"] = dict(sorted(row["runs"].items(), key=lambda item: int(item[0])))
    return {**found, "older": older} if older else found


def _entries(record: Record) -> Iterator[Record]:
    """Every finished run with what it is one of; those that are not shown come last."""
    for domain, content in record.get("domains", {}).items():
        for name, row in content["rows"].items():
            of = (domain, content["spec"], content["view"], name, row["overrides"], row["oracle"])
            for seed, run in row["runs"].items():
                if run is not None:
                    yield {**dict(zip(DESCRIPTION, of, strict=True)), "seed": seed, "run": run}
    yield from record.get("older", [])


def _place(entry: Record, record: Record) -> Record | None:
    """The row that a run of such settings on such data belongs to; None where the table has none."""
    content = record["domains"].get(entry["domain"])
    row = None if content is None else content["rows"].get(entry["row"])
    if row is None:
        return None
    here = (entry["domain"], content["spec"], content["view"], entry["row"], row["overrides"], row["oracle"])
    return row if here == tuple(entry[name] for name in DESCRIPTION) else None
