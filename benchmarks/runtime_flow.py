"""Optical flow: the runtime's and OpenCV's dense inverse search, on exactly known motion.

    python benchmarks/runtime_flow.py --sizes 512x256 1024x512 --threads 1 2

Ours in two settings: as streams search, down to pyramid level 1, and as OpenCV's preset "ultrafast" does, down to level
2. All have the same patches and number of iterations, and none a variational refinement. End-point errors are means
over the pixels whose past position can be seen, over `--seeds` pictures a kind of motion. Times are medians over the
rounds; within a round all run in turns on the same pairs, in one process, so that the machine's noise meets all alike,
and a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from record import write_result

import stpl_rt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "bindings"))
from exact_motion import ExactPair, end_point_error, motions

Flow = Callable[[npt.NDArray[np.uint8], npt.NDArray[np.uint8]], npt.NDArray[np.float32]]

OURS = {"streams": 1, "ultrafast": 2}
"""finest_scale by setting."""


def opencv_flow() -> Flow:
    """OpenCV's search as (current, past) -> (h, w, 2)."""
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    return lambda current, past: search.calc(current, past, None)


def flows(threads: int) -> dict[str, Flow]:
    """What is compared, by name."""
    ours = {name: stpl_rt.DisFlow(finest_scale=level, threads=threads) for name, level in OURS.items()}
    return {**ours, "opencv": opencv_flow()}


def errors(width: int, height: int, seeds: int) -> tuple[dict[str, dict[str, float]], list[ExactPair]]:
    """Mean end-point error in pixels for each kind of motion, and the first seed's pairs."""
    found: dict[str, dict[str, list[float]]] = {}
    first: list[ExactPair] = []
    for seed in range(seeds):
        for kind, pair in motions(height, width, seed).items():
            of_kind = found.setdefault(kind, {})
            for name, flow in flows(threads=1).items():
                of_kind.setdefault(name, []).append(end_point_error(flow(pair.current, pair.past), pair))
            if seed == 0:
                first.append(pair)
    return {kind: {name: fmean(values) for name, values in of.items()} for kind, of in found.items()}, first


def milliseconds(flow: Flow, pairs: list[ExactPair]) -> float:
    """Median time of one call over the pairs."""
    times = []
    for pair in pairs:
        start = time.perf_counter()
        flow(pair.current, pair.past)
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


def timings(pairs: list[ExactPair], threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """All with `threads` threads; the first round warms up and is left out."""
    cv2.setNumThreads(threads)
    compared = flows(threads)
    measured = [{name: milliseconds(flow, pairs) for name, flow in compared.items()} for _ in range(rounds + 1)][1:]
    return {
        name: {
            "ms": median(times[name] for times in measured),
            "best_ms": min(times[name] for times in measured),
            "ratio": median(times[name] / times["opencv"] for times in measured),
        }
        for name in compared
    }


def print_size(name: str, result: dict[str, Any]) -> None:
    print(f"\n{name}, end-point error in pixels{'':6}streams  ultrafast  OpenCV")
    for kind, row in result["end_point_error"].items():
        print(f"  {kind:36}{row['streams']:7.3f}    {row['ultrafast']:7.3f} {row['opencv']:7.3f}")
    for threads, row in result["timings"].items():
        label = f"ms a pair, {threads} thread" + ("s" if int(threads) > 1 else "")
        print(f"  {label:36}{row['streams']['ms']:7.3f}    {row['ultrafast']['ms']:7.3f} {row['opencv']['ms']:7.3f}")


def size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=size, nargs="+", default=[(512, 256), (1024, 512)], metavar="WxH")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/runtime_flow.json")
    arguments = parser.parse_args()

    results = {}
    for width, height in arguments.sizes:
        table, pairs = errors(width, height, arguments.seeds)
        name = f"{width}x{height}"
        results[name] = {
            "end_point_error": table,
            "timings": {str(t): timings(pairs, t, arguments.rounds) for t in arguments.threads},
        }
        print_size(name, results[name])
    settings = {"opencv": cv2.__version__, "seeds": arguments.seeds, "rounds": arguments.rounds}
    path = write_result("runtime_flow", {"settings": settings, "sizes": results}, arguments.out)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
