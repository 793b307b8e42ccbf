"""Writes BENCHMARKS.md from the results under benchmarks/results/.

python benchmarks/make_tables.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import adaptation_tables as tables
import runtime_tables as runtime
from adaptation_tables import table
from catalogue import GROUPS
from catalogue import TABLES as COMPUTED

import stpl_rt  # noqa: F401  the runtime's library before anything else loads one

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

Record = dict[str, Any]


def calibration(results: Record) -> str:
    parts = []
    for network, domains in results["networks"].items():
        criteria = list(next(iter(domains.values()))["chosen"])
        lines = []
        gains: dict[str, list[float]] = {name: [] for name in ("best", *criteria)}
        for domain, row in domains.items():
            curves, plain = row["curves"], row["curves"]["as they are"]
            curve = {"best": max(curves, key=curves.__getitem__), **row["chosen"]}
            for name, values in gains.items():
                values.append(curves[curve[name]] - plain)
            lines.append([domain, f"{plain:.1f}", *(f"{curve[name]} ({gains[name][-1]:+.1f})" for name in gains)])
        lines.append(["mean", "", *(f"{fmean(values):+.1f}" for values in gains.values())])
        lines.append(["least", "", *(f"{min(values):+.1f}" for values in gains.values())])
        parts.append(f"**{network}**\n\n" + table(["", "mIoU, no calibration", "best curve", *criteria], lines))
    text = "The curve that each criterion chooses, and what it gains over none, in mIoU; `agreement` is the default."
    return f"{text}\n\n" + "\n\n".join(parts)


def guard_selectors(results: Record) -> str:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    lines = [
        [
            name,
            number(row["against_source"], "+.1f"),
            number(row["against_start"], "+.1f"),
            number(row["benign_mean"], "+.1f"),
            number(row["share_of_gain"], ".0%").replace("%", " %"),
            number(row["correlation"], ".2f"),
        ]
        for name, row in results["selectors"].items()
    ]
    columns = ["keeps by", "worst run against the source, as it is or calibrated", "against the start of training"]
    columns += ["benign runs, mean gain over the start", "share of the best gain, median", "rank correlation with mIoU"]
    benign = sum(run["benign"] for run in results["runs"])
    of = f" of {results['of']}" if "of" in results else ""
    text = (
        f"Over {len(results['runs'])}{of} runs, {benign} of them benign, in mIoU. The candidates are the start of "
        "training and the snapshots of a run that no guard interfered with; `guard` alone trains under its own hand."
    )
    sources = "\n".join(f"- *{name}*: {source}" for name, source in results["sources"].items())
    return f"{text}\n\n{table(columns, lines)}\n\n{sources}"


def step_profile(results: Record) -> str:
    settings, shares, peak = results["settings"], results["shares"], results["peak_mb"]
    # Measured on a GPU; of one whose limit is not known, the operations alone.
    on_gpu = {"tflop": ("TFLOP a step", "{:.2f}"), "bf16_share": ("of the GPU's bf16 limit", "{:.0%}")}
    rows = list(results["methods"].values())
    extra = {key: form for key, form in on_gpu.items() if all(key in row for row in rows)}
    lines = [
        [
            method,
            f"{row['compute_ms']:.0f}",
            f"{row['data_making_ms']:.0f}",
            f"{row['data_wait_ms']:.1f}",
            f"{100 * row['data_wait_share']:.1f} %",
            f"{peak[method]:.0f}",
            *(form.format(row[key]).replace("%", " %") for key, (_, form) in extra.items()),
        ]
        for method, row in results["methods"].items()
    ]
    columns = ["method", "computing, ms a step", "making a batch, ms", "waited for it, ms", "of the step", "peak, MB"]
    columns += [title for title, _ in extra.values()]
    text = (
        f"{settings['model']}, input {settings['size']}, batch {settings['batch_size']}, {settings['precision']} on "
        f"{settings['device']}, {settings['threads']} thread, {settings['workers']} for data that is decoded anew each "
        f"time. An STPL step computes {results['ratio']:.2f} times as long as one of self-training; sampling, fusion, "
        f"projection and loss are {100 * shares['contrast_in_all']:.1f} % of it and add {peak['added']:.0f} MB "
        f"(student {100 * shares['student']:.0f} %, teacher {100 * shares['teacher']:.0f} %, augmentation "
        f"{100 * shares['augment']:.0f} %)."
    )
    return f"{text}\n\n{table(columns, lines)}"


def video_reading(results: Record) -> str:
    settings = results["settings"]
    lines = [
        [
            name,
            f"{row['compute_ms']:.0f}",
            f"{row['step_ms']:.0f}",
            f"{100 * row['wait_share']:.1f} %",
            f"{row['before_the_first_step_s']:.1f}",
        ]
        for name, row in results["rows"].items()
    ]
    columns = [
        "frames are read",
        "computing, ms a step",
        "whole step, ms",
        "waiting for frames",
        "before the first step, s",
    ]
    text = (
        f"STPL with the compact network on an H.264 file of {settings['frames']} frames of 1280x720 whose only key "
        "frame is its first."
    )
    return f"{text}\n\n{table(columns, lines)}"


RECORDED = {"rivals-earlier-source": "rivals", "runtime_latency-avx512": "runtime_latency"}
"""Records that nothing computes any more, and the table that each was one of."""
TABLES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "claims": ("What was claimed, and what was measured", tables.claims),
    "rivals": (COMPUTED["rivals"].title, tables.in_full),
    "rivals-earlier-source": ("Rivals on CamVid, from another source model of the same recipe", tables.in_full),
    "clean-branch-tested": (COMPUTED["clean-branch-tested"].title, tables.in_full),
    "ablation": (COMPUTED["ablation"].title, tables.ablation),
    "purity": ("Neighbour purity", tables.purity),
    **{name: (COMPUTED[name].title, tables.in_full) for name in GROUPS["guard"]},
    "guard_selectors": ("The guard against published ways to choose a snapshot", guard_selectors),
    "development-rivals": (COMPUTED["development-rivals"].title, tables.in_full),
    **{name: (COMPUTED[name].title, tables.in_brief) for name in GROUPS["settings"]},
    "calibration": ("Input calibration", calibration),
    "step_profile": ("A step of the adaptation: time, memory, waiting", step_profile),
    "video_reading": ("Training on a video file", video_reading),
    "runtime_overhead": ("Overhead of push() over the network", runtime.overhead),
    "runtime_pipelines": ("push() against the same pipeline as users write it", runtime.pipelines),
    "runtime_sampling": ("Sample + argmax", runtime.sampling),
    "runtime_flow": ("Optical flow against OpenCV's", runtime.flow),
    "runtime_latency": ("Latency by the type of the frame, and what fixed:5 gains", runtime.latency),
    "runtime_latency-avx512": ("Latency by the type of the frame, on a quicker machine", runtime.latency),
    "runtime_propagation": ("Propagation on real 15 Hz video", runtime.propagation),
    "runtime_schedules": ("Schedules at the same rate of key frames", runtime.schedules),
    "runtime_key_lag": ("Bounded latency: key_lag", runtime.key_lag),
    "runtime_real_time": ("Real time on two cores", runtime.real_time),
    "runtime_accel": ("Accel mode", runtime.accel),
    "runtime_growth": ("Growth with streams, resolution, classes", runtime.growth),
}


def command(name: str) -> str:
    """What computes a table."""
    name = RECORDED.get(name, name)
    return f"benchmarks/tables.py {name}" if name in COMPUTED else f"benchmarks/{name}.py"


def section(name: str, results: Path) -> str:
    """A table with its title and where it was measured; a table without results says so."""
    title, make = TABLES[name]
    file = results / f"{name}.json"
    if not file.is_file():
        return f"## {title}\n\nnot run: `python {command(name)}`"
    record = json.loads(file.read_text(encoding="utf-8"))
    machine, results = record["machine"], record["results"]
    if name in COMPUTED:  # words can be mended without a new sitting
        results = {**results, "text": COMPUTED[name].text}
    where = f"`{command(name)}`, commit {record['commit']}, {record['date']}, {said_of(machine)}"
    return f"## {title}\n\n{where}\n\n{make(results)}"


def said_of(machine: dict[str, Any]) -> str:
    """The machine in a line; what was not noted of older ones is left out."""
    parts = [machine["processor"], f"{machine['cores']} cores"]
    if vectors := machine.get("vectors"):
        parts.insert(1, vectors)
    if arithmetic := machine.get("arithmetic"):
        took = f"{arithmetic['median_ms']:.1f} ms then, {arithmetic['least_ms']:.1f} at best"
        parts.append(f"on which a fixed piece of arithmetic took {took}")
    return ", ".join(parts)


def page(results: Path) -> str:
    """BENCHMARKS.md, from a folder of results."""
    head = "# Benchmarks\n\nMade by `python benchmarks/make_tables.py` from `benchmarks/results/`; do not edit."
    return "\n\n".join([head, *(section(name, results) for name in TABLES)]) + "\n"


def main() -> None:
    out = ROOT / "BENCHMARKS.md"
    out.write_text(page(RESULTS), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
