"""What a frame takes, by its type: key frames of `every`, key and propagated frames of `fixed:5`; and how evenly.

    python benchmarks/runtime_latency.py

A generated street of the network's input size, shown forwards and backwards without a cut. Both schedules take turns;
the gain in frames/s is the median of the rounds' ratios. p50 and p99 are over all frames of a type, of the wall-clock
milliseconds of push(). The networks have random weights.

How evenly this machine computes at all stands beside it: in the same turns, the network alone, and arithmetic without
memory, locks or allocations, as long as a frame of each type, on as many threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from arithmetic import EvenArithmetic
from record import write_result
from runtime_networks import random_bundle, read_size, size_name, street, there_and_back
from runtime_overhead import network_alone
from turns import milliseconds, ratio

import stpl_rt

SCHEDULES = ("every", "fixed:5")


class TimedStream:
    """A Segmenter with its endless video and the times of its frames."""

    def __init__(self, bundle: stpl_rt.Bundle, schedule: str, size: tuple[int, int], threads: int) -> None:
        self._segmenter = stpl_rt.Segmenter(bundle, schedule=schedule, threads=threads)
        self._frames = there_and_back(street(size, 40))
        self.by_type: dict[str, list[float]] = {}
        self.frame_ms: list[float] = []
        """Of each round, the mean."""

    def play(self, frames: int) -> None:
        """One round."""
        whole = 0.0
        for _ in range(frames):
            frame = next(self._frames)
            start = time.perf_counter()
            result = self._segmenter.push(frame)
            took = 1e3 * (time.perf_counter() - start)
            self.by_type.setdefault("key" if result.is_key else "propagated", []).append(took)
            whole += took
        self.frame_ms.append(whole / frames)

    def forget_times(self) -> None:
        self.by_type.clear()
        self.frame_ms.clear()


def percentiles(times: list[float]) -> dict[str, Any]:
    """p50, p99 and their ratio."""
    p50, p99 = float(np.percentile(times, 50)), float(np.percentile(times, 99))
    return {"frames": len(times), "p50_ms": p50, "p99_ms": p99, "p99_over_p50": p99 / p50}


def measure(model: str, args: argparse.Namespace) -> dict[str, Any]:
    bundle = random_bundle(model, args.size)
    streams = {schedule: TimedStream(bundle, schedule, args.size, args.threads) for schedule in SCHEDULES}
    for stream in streams.values():
        stream.play(20)
    calls: dict[str, Callable[[], Any]] = {"network alone": network_alone(bundle, args.threads, "f32")}
    for kind in ("key", "propagated"):
        frame_ms = median(streams["fixed:5"].by_type[kind])
        calls[f"arithmetic as long as a {kind} frame"] = EvenArithmetic(frame_ms, args.threads)
    beside: dict[str, list[float]] = {name: [] for name in calls}
    for stream in streams.values():
        stream.forget_times()
    for _ in range(args.rounds):
        for stream in streams.values():
            stream.play(args.frames)
        for name, call in calls.items():
            call()
            beside[name] += [milliseconds(call) for _ in range(args.frames)]
    every, fixed = (streams[schedule].frame_ms for schedule in SCHEDULES)
    return {
        "model": model,
        "frames_per_second": {schedule: 1e3 / median(stream.frame_ms) for schedule, stream in streams.items()},
        "gain": ratio(every, fixed),
        "types": {
            f"{kind}, {schedule}": percentiles(times)
            for schedule, stream in streams.items()
            for kind, times in sorted(stream.by_type.items())
        },
        "beside": {name: percentiles(times) for name, times in beside.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["compact", "segformer-b0"])
    parser.add_argument("--size", type=read_size, default=(480, 360), metavar="WxH", help="of input and frames")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=150, help="of a schedule in one round")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    rows = []
    for model in args.models:
        row = measure(model, args)
        rows.append(row)
        print(f"{model}: fixed:5 has {row['gain']['ratio']:.2f} times the frames/s of every")
        for kind, found in {**row["types"], **row["beside"]}.items():
            print(f"  {kind}: p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms, {found['frames']} frames")
    setting = {"size": size_name(args.size), "threads": args.threads}
    print(write_result("runtime_latency", {**setting, "rows": rows}, args.json))


if __name__ == "__main__":
    main()
