"""The table of a benchmark, beside what others reported, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from stpl.benchmark.protocol import Benchmark
from stpl.benchmark.run import RunScore

HEADER = ("method", "setting", "selected", "last", "best on val *", "source")
NOTE = """\
mIoU in percent over {scored} classes and {frames} labelled frames of the val split{incomplete}, evaluated as the
released baselines do it. **Selected**: the checkpoint that the run put out, chosen without labels. **Last**: the last
snapshot; a guard that acts may have taken training back, or ended it, before. **Best on val** (*): the best of the
snapshots and the selected checkpoint by the val labels; it needs labels to find and chooses nothing here, and is what
the released baselines report, so that published numbers stand in its column. ±: standard deviation over seeds. T:
released code of TPS; P: poster of STPL; U: released code of UDASS; O: a public collection of papers' results.
"""


def table_rows(benchmark: Benchmark, scores: Sequence[RunScore]) -> list[tuple[str, ...]]:
    """Cells in the order of HEADER: what others reported, then ours by method."""
    rows: list[tuple[str, ...]] = [
        (result.method, result.setting, "", "", f"{result.miou:.1f}", result.source) for result in benchmark.published
    ]
    for method in dict.fromkeys(score.method for score in scores):
        runs = [score for score in scores if score.method == method]
        seeds = f"{len(runs)} seeds" if len(runs) > 1 else "1 run"
        kinds = ([run.selected for run in runs], [run.last for run in runs], [run.best for run in runs])
        setting = "–" if method == "source only" else "SF video"
        rows.append((f"{method} (ours)", setting, *(_mean([score["miou"] for score in kind]) for kind in kinds), seeds))
    return rows


def markdown(benchmark: Benchmark, scores: Sequence[RunScore], frames: int) -> str:
    """The whole page: means beside what others reported, and IoU by class of the selected checkpoints."""
    scored = len(benchmark.classes) - len(benchmark.unscored)
    incomplete = "" if frames == benchmark.frames else f" (of {benchmark.frames}: not comparable to published numbers)"
    names = [name for name in benchmark.classes.names if name not in benchmark.unscored]
    rows = [(_run_name(score), *(_percent(score.selected["iou"][name]) for name in names)) for score in scores]
    parts = [
        f"# {benchmark.title}",
        _table(HEADER, table_rows(benchmark, scores)),
        NOTE.format(scored=scored, frames=frames, incomplete=incomplete).strip(),
        "IoU by class of the selected checkpoints, in percent:",
        _table(("run", *names), rows),
    ]
    return "\n\n".join(parts) + "\n"


def _run_name(score: RunScore) -> str:
    return score.method if score.seed is None else f"{score.method}, seed {score.seed}"


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
