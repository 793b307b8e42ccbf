r"""Propagation on real 15 Hz video: `fixed:K` against `every`, in accuracy by distance from the key frame and in time.

    python benchmarks/runtime_propagation.py --bundle runs/camvid/source-bundle \
        --data "folder:$STPL_CAMVID?sequences=day_0016E5_15hz"

`fixed:K` is run once for each of its K phases: phase p is brought about by a reset() after p frames. The mIoU is over
the classes present in the labels. Times are wall-clock milliseconds of push() on frames of the video's own size.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from record import write_result

import stpl_rt
from stpl.data.specs import open_dataset
from stpl.metrics import ConfusionMatrix


def run_stream(
    segmenter: stpl_rt.Segmenter, frames: list[Any], labels: list[Any], phase: int, classes: int
) -> tuple[dict[int, ConfusionMatrix], dict[bool, list[float]]]:
    """One pass over the clip: confusion by age of the key frame, milliseconds by key or not."""
    confusion: dict[int, ConfusionMatrix] = {}
    times: dict[bool, list[float]] = {True: [], False: []}
    segmenter.reset()
    for index, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        if index == phase:
            segmenter.reset()
        result = segmenter.push(frame)
        times[result.is_key].append(result.timing["total_ms"])
        if label is not None:
            confusion.setdefault(result.age, ConfusionMatrix(classes)).update(result.labels, label)
    return confusion, times


def merged(parts: list[ConfusionMatrix], classes: int) -> ConfusionMatrix:
    whole = ConfusionMatrix(classes)
    for part in parts:
        whole.merge(part)
    return whole


def percent(confusion: ConfusionMatrix) -> float:
    """Its mIoU; raises where no frame was labelled."""
    if confusion.miou is None:
        raise ValueError("expected a clip with labels, found no labelled pixel")
    return 100 * confusion.miou


def measure(segmenter: stpl_rt.Segmenter, interval: int, frames: list[Any], labels: list[Any]) -> dict[str, Any]:
    """All phases of one schedule: ``interval`` of them."""
    classes = len(segmenter.bundle.classes)
    for frame in frames[:10]:
        segmenter.push(frame)
    phases = []
    by_age: dict[int, list[ConfusionMatrix]] = {}
    times: dict[bool, list[float]] = {True: [], False: []}
    for phase in range(interval):
        confusion, phase_times = run_stream(segmenter, frames, labels, phase, classes)
        phases.append(percent(merged(list(confusion.values()), classes)))
        for age, part in confusion.items():
            by_age.setdefault(age, []).append(part)
        for is_key in times:
            times[is_key] += phase_times[is_key]
    total = sum(times[True]) + sum(times[False])
    return {
        "schedule": segmenter.schedule,
        "miou_mean": fmean(phases),
        "miou_phases": phases,
        "miou_by_age": {age: percent(merged(parts, classes)) for age, parts in sorted(by_age.items())},
        "key_ms_p50": median(times[True]),
        "propagated_ms_p50": median(times[False]) if times[False] else None,
        "propagated_ms_p99": float(np.percentile(times[False], 99)) if times[False] else None,
        "frames_per_second": 1e3 * (len(times[True]) + len(times[False])) / total,
    }


def labelled_clip(spec: str) -> tuple[list[Any], list[Any]]:
    """All frames of a clip, and their labels, None where a frame has none."""
    data = open_dataset(spec)
    return [data.frame(i) for i in range(len(data))], [data.label(i) for i in range(len(data))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--data", required=True, help="data spec of a clip of consecutive frames, some of them labelled"
    )
    parser.add_argument("--intervals", type=int, nargs="+", default=[2, 5, 10])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    bundle = stpl_rt.Bundle.open(args.bundle)
    frames, labels = labelled_clip(args.data)
    rows = []
    for interval in [1, *args.intervals]:
        schedule = "every" if interval == 1 else f"fixed:{interval}"
        segmenter = stpl_rt.Segmenter(bundle, schedule=schedule, threads=args.threads)
        rows.append(measure(segmenter, interval, frames, labels))
    for row in rows:
        ages = " ".join(f"{age}:{value:.1f}" for age, value in row["miou_by_age"].items())
        print(f"{row['schedule']:9} mIoU {row['miou_mean']:.2f} by age {ages}; {row['frames_per_second']:.1f} frames/s")
    height, width = frames[0].shape[:2]
    setting = {
        "data": open_dataset(args.data).name,
        "frames": len(frames),
        "frame_size": f"{width}x{height}",
        "threads": args.threads,
    }
    print(write_result("runtime_propagation", {**setting, "rows": rows}, args.json))


if __name__ == "__main__":
    main()
