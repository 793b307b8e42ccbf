"""Records what the fuzzers ran and found, from the summary that scripts/fuzz.sh leaves.

python benchmarks/fuzzing.py build/fuzz/summary.tsv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from record import write_result


def read_summary(path: Path) -> dict[str, Any]:
    """Seconds, executions and findings (0 or 1: a fuzzer ends at the first) of each target."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["target"]: {key: int(row[key]) for key in ("seconds", "executions", "findings")} for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("summary", type=Path)
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    arguments = parser.parse_args()
    print(write_result("fuzz", {"targets": read_summary(arguments.summary)}, arguments.json))


if __name__ == "__main__":
    main()
