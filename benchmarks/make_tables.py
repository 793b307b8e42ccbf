"""Writes BENCHMARKS.md from the results under benchmarks/results/.

python benchmarks/make_tables.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

Record = dict[str, Any]


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(scores: list[float]) -> str:
    if len(scores) == 1:
        return f"{scores[0]:.1f}"
    return f"{fmean(scores):.1f} ± {stdev(scores):.1f} ({', '.join(f'{s:.1f}' for s in scores)})"


def camvid_day_to_dusk(results: Record) -> str:
    rows = results["rows"]
    base = rows["source"]["miou"][0]
    lines = []
    for name, row in rows.items():
        snapshots = ["", ""]
        if "best_snapshot" in row:
            snapshots = [f"{fmean(row['best_snapshot']):.1f}", f"{fmean(row['worst_snapshot']):.1f}"]
        seconds = f"{row['seconds']:.0f}" if "seconds" in row else ""
        lines.append([name, spread(row["miou"]), f"{fmean(row['miou']) - base:+.1f}", *snapshots, seconds])
    columns = ["", "mIoU: mean ± spread (seeds)", "against source", "best snapshot", "worst snapshot", "seconds"]
    text = (
        "mIoU over the classes present in the 62 labelled dusk frames; the result is the last snapshot, the best and "
    )
    text += f"worst are for comparison. Seeds {', '.join(map(str, results['seeds']))}, one source model."
    return f"{text}\n\n{table(columns, lines)}"


def propagation(results: Record) -> str:
    rows, base = results["rows"], results["rows"][0]["miou_mean"]
    lines = []
    for row in rows:
        ages = ", ".join(f"{value:.1f}" for value in row["miou_by_age"].values())
        propagated = ["", ""]
        if row["propagated_ms_p50"] is not None:
            propagated = [f"{row['propagated_ms_p50']:.2f}", f"{row['propagated_ms_p99']:.2f}"]
        loss = f"{row['miou_mean'] - base:+.2f}"
        speed = f"{row['frames_per_second']:.0f}"
        lines.append(
            [row["schedule"], f"{row['miou_mean']:.2f}", loss, ages, speed, f"{row['key_ms_p50']:.2f}", *propagated]
        )
    columns = ["schedule", "mIoU, all phases", "against every", "by distance from the key", "frames/s"]
    columns += ["key ms p50", "propagated ms p50", "p99"]
    text = (
        f"{results['data']}, {results['frames']} frames of {results['frame_size']}, {results['threads']} threads, f32."
    )
    return f"{text}\n\n{table(columns, lines)}"


def overhead(results: Record) -> str:
    lines = [
        [
            row["input"],
            str(row["threads"]),
            f"{row['network_ms']:.2f}",
            f"{row['push_ms']:.2f}",
            f"{row['ratio']:.3f} ({row['ratio_min']:.3f} to {row['ratio_max']:.3f})",
        ]
        for row in results["rows"]
    ]
    columns = ["input = frame", "threads", "network alone, ms", "push, ms", "ratio: median (range of rounds)"]
    return table(columns, lines)


def choose_settings(results: Record) -> str:
    parts = []
    for group, variants in results["tables"].items():
        domains = list(results["domains"])
        lines = [
            [name, f"{row['mean_gain']:+.1f}", *(f"{row[domain]['miou']:.1f}" for domain in domains)]
            for name, row in variants.items()
        ]
        parts.append(f"**{group}**\n\n" + table(["", "mean gain over source", *domains], lines))
    source = ", ".join(f"{name} {value:.1f}" for name, value in results["source"].items())
    return f"Development domains; source model: {source}.\n\n" + "\n\n".join(parts)


def flow_vs_opencv(results: Record) -> str:
    parts = []
    for size, measured in results["sizes"].items():
        errors = [
            [motion, f"{e['ours']:.3f}", f"{e['opencv']:.3f}", f"{e['ours'] / e['opencv']:.2f}" if e["opencv"] else ""]
            for motion, e in measured["end_point_error"].items()
        ]
        parts.append(f"**End-point error, {size}, pixels**\n\n" + table(["motion", "ours", "OpenCV", "ratio"], errors))
    times = [
        [size, threads, f"{t['ours_ms']:.2f}", f"{t['opencv_ms']:.2f}", f"{t['ratio']:.2f}"]
        for size, measured in results["sizes"].items()
        for threads, t in measured["timings"].items()
    ]
    parts.append("**Time, ms, medians**\n\n" + table(["size", "threads", "ours", "OpenCV", "ratio"], times))
    return f"Against OpenCV {results['settings']['opencv']}, preset ultrafast.\n\n" + "\n\n".join(parts)


TABLES: dict[str, tuple[str, Callable[[Record], str]]] = {
    "camvid_day_to_dusk": ("CamVid, day to dusk", camvid_day_to_dusk),
    "propagation": ("Propagation on real 15 Hz video", propagation),
    "overhead": ("Overhead of push() over the network", overhead),
    "flow_vs_opencv": ("Optical flow against OpenCV's", flow_vs_opencv),
    "choose_settings": ("Settings, chosen on generated video", choose_settings),
}


def main() -> None:
    parts = ["# Benchmarks\n\nMade by `python benchmarks/make_tables.py` from `benchmarks/results/`; do not edit."]
    for name, (title, make) in TABLES.items():
        file = RESULTS / f"{name}.json"
        if not file.is_file():
            continue
        record = json.loads(file.read_text(encoding="utf-8"))
        machine = record["machine"]
        where = f"`benchmarks/{name}.py`, commit {record['commit']}, {record['date']}, {machine['processor']}, "
        where += f"{machine['cores']} cores"
        parts.append(f"## {title}\n\n{where}\n\n{make(record['results'])}")
    out = ROOT / "BENCHMARKS.md"
    out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
