r"""A network that takes two frames' time, at a camera's pace: push() with and without `key_lag`, and the lag's price.

    python benchmarks/runtime_key_lag.py --bundle runs/bench/camvid-bundle \
        --data "folder:$STPL_CAMVID?sequences=day_0016E5_15hz" --clip-rate 15

The network is SegFormer-B0 (random weights) at the least of a few input sizes at which it takes 60 ms or more on this
machine, or at the largest. Frames come every 1/30 s by the clock, whether the last one is finished or not; schedules
with and without a lag take turns. The price in mIoU is that of the trained network in `--bundle`, on a labelled clip,
in all phases: the lag counts frames, not milliseconds, so it does not depend on the network's time. It is measured with
as many frames between key frames and of lag as here, and, on a clip of fewer frames/s, with as few as take the same
time.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from record import write_result
from runtime_networks import random_bundle, size_name, street, there_and_back
from runtime_propagation import labelled_clip, measure

import stpl_rt

MODEL = "segformer-b0"
SIZES = ((704, 352), (768, 384), (832, 416), (896, 448), (1024, 512))
FRAMES_PER_SECOND = 30


def slow_network(least_ms: float, threads: int) -> tuple[stpl_rt.Bundle, float]:
    """The bundle whose network takes ``least_ms`` or more, and what it takes."""
    for size in SIZES:
        bundle = random_bundle(MODEL, size)
        segmenter = stpl_rt.Segmenter(bundle, schedule="every", threads=threads)
        (frame,) = street(size, 1)
        took = median(segmenter.push(frame).timing["network_ms"] for _ in range(15))
        if took >= least_ms:
            break
    return bundle, took


def push_at_pace(segmenter: stpl_rt.Segmenter, frames: int) -> list[float]:
    """Milliseconds of push() with a frame due every 1/30 s; one that comes late is pushed at once."""
    size = (segmenter.bundle.input.width, segmenter.bundle.input.height)
    video = there_and_back(street(size, 40))
    times = []
    begin = time.perf_counter()
    for index in range(frames):
        frame = next(video)
        time.sleep(max(0.0, begin + index / FRAMES_PER_SECOND - time.perf_counter()))
        start = time.perf_counter()
        segmenter.push(frame)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def paced(bundle: stpl_rt.Bundle, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Latencies with and without the lag. The frames up to the second key frame warm up."""
    segmenters = {
        lag: stpl_rt.Segmenter(bundle, schedule=f"fixed:{args.interval}", threads=args.threads, key_lag=lag)
        for lag in (0, *args.lags)
    }
    times: dict[int, list[float]] = {lag: [] for lag in segmenters}
    for _ in range(args.rounds):
        for lag, segmenter in segmenters.items():
            segmenter.reset()
            times[lag] += push_at_pace(segmenter, args.frames)[args.interval + 1 :]
    late = 1e3 / FRAMES_PER_SECOND
    return [
        {
            "key_lag": lag,
            "frames": len(values),
            "p50_ms": float(np.percentile(values, 50)),
            "p99_ms": float(np.percentile(values, 99)),
            "most_ms": max(values),
            "over_a_frames_time": sum(value > late for value in values) / len(values),
        }
        for lag, values in times.items()
    ]


def same_time(interval: int, lag: int, clip_rate: float) -> tuple[int, int]:
    """Frames of the clip that take the time of ``interval`` and ``lag`` frames here; the lag is rounded upwards."""
    share = clip_rate / FRAMES_PER_SECOND
    lag = math.ceil(lag * share)
    return max(lag + 1, round(interval * share)), lag


def accuracy(args: argparse.Namespace) -> list[dict[str, Any]]:
    """mIoU of `every`, and without and with the lags of as many frames, and of as much time."""
    cases = [("", 1, 0), *(("as many frames", args.interval, lag) for lag in (0, *args.lags))]
    for lag in (0, *args.lags) if args.clip_rate != FRAMES_PER_SECOND else ():
        case = ("as much time", *same_time(args.interval, lag, args.clip_rate))
        cases += [case] if case not in cases else []
    bundle = stpl_rt.Bundle.open(args.bundle)
    frames, labels = labelled_clip(args.data)
    rows = []
    for what, interval, lag in cases:
        schedule = "every" if interval == 1 else f"fixed:{interval}"
        segmenter = stpl_rt.Segmenter(bundle, schedule=schedule, threads=args.threads, key_lag=lag)
        found = measure(segmenter, interval, frames, labels)
        rows.append({"what": what, "schedule": schedule, "key_lag": lag, "miou_mean": found["miou_mean"]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="trained, for the mIoU; none: latencies alone")
    parser.add_argument("--data", help="data spec of a clip of consecutive frames, some of them labelled")
    parser.add_argument("--clip-rate", type=float, default=15, help="the clip's frames/s")
    parser.add_argument("--network-ms", type=float, default=60)
    parser.add_argument("--interval", type=int, default=6, help="frames from one key frame to the next")
    parser.add_argument("--lags", type=int, nargs="+", default=[2, 3, 4], help="frames from a key frame to its labels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--frames", type=int, default=300, help="of one turn")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    if (args.bundle is None) != (args.data is None):
        parser.error("--bundle and --data: expected both or none")
    bundle, network_ms = slow_network(args.network_ms, args.threads)
    size = size_name((bundle.input.width, bundle.input.height))
    print(f"{MODEL} at {size}: the network alone takes {network_ms:.1f} ms")
    rows = paced(bundle, args)
    for row in rows:
        times = f"p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f}, longest {row['most_ms']:.1f}"
        print(f"key_lag {row['key_lag']}: {times}, {100 * row['over_a_frames_time']:.1f} % over a frame's time")
    prices = [] if args.bundle is None else accuracy(args)
    for price in prices:
        print(f"{price['schedule']}, key_lag {price['key_lag']} {price['what']}: mIoU {price['miou_mean']:.2f}")
    setting = {"model": MODEL, "size": size, "network_ms": network_ms, "threads": args.threads}
    setting |= {"frames_per_second": FRAMES_PER_SECOND, "schedule": f"fixed:{args.interval}"}
    print(write_result("runtime_key_lag", {**setting, "rows": rows, "accuracy": prices}, args.json))


if __name__ == "__main__":
    main()
