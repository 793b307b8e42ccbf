"""How cost grows: with the streams that share a network, with the resolution, with the number of classes.

    python benchmarks/runtime_growth.py

The compact network with random weights, generated frames of the input's size. Streams: five frames through each of 1 to
8 Segmenters of one Bundle, one after the other, or with submit and collect at once; and the memory that they add to the
process. Resolution and classes: the stages of key frames and of propagated ones, the smaller case and the larger in
turns. The exponent is the power of the size with which the cost grows: 1 is linear.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bars import growth_exponent
from record import write_result
from runtime_networks import random_bundle, size_name, street
from turns import medians_in_turns

import stpl_rt

MODEL = "compact"
SMALL, LARGE = (512, 256), (1024, 512)
FEW, MANY = 11, 150
STREAMS = (1, 2, 4, 8)
FRAMES = 5
"""Through each stream: one key frame and those until the next, of `fixed:5`."""


def row(what: str, sizes: tuple[float, float], part: str, costs: tuple[float, float], unit: str = "ms") -> Any:
    exponent = growth_exponent(sizes, costs)
    return {"what": what, "sizes": sizes, "part": part, "costs": costs, "unit": unit, "exponent": exponent}


def resident_megabytes() -> float:
    """What the process holds in memory now."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status: expected a line VmRSS, found none")


def in_turn(segmenters: list[stpl_rt.Segmenter], frames: list[Any]) -> None:
    for frame in frames:
        for segmenter in segmenters:
            segmenter.push(frame)


def at_once(segmenters: list[stpl_rt.Segmenter], frames: list[Any]) -> None:
    for frame in frames:
        for segmenter in segmenters:
            segmenter.submit(frame)
        for segmenter in segmenters:
            segmenter.collect()


def streams(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time and memory from one stream to eight."""
    bundle = random_bundle(MODEL, SMALL)
    frames = street(SMALL, FRAMES)
    before = resident_megabytes()
    segmenters: list[stpl_rt.Segmenter] = []
    memory: dict[int, float] = {}
    for count in range(1, max(STREAMS) + 1):
        segmenters.append(stpl_rt.Segmenter(bundle, schedule=f"fixed:{FRAMES}", threads=args.threads))
        at_once(segmenters[-1:], frames)
        memory[count] = resident_megabytes() - before
    rows = []
    for name, show in (("push, one after the other", in_turn), ("submit and collect", at_once)):
        calls: dict[str, Callable[[], None]] = {str(n): partial(show, segmenters[:n], frames) for n in STREAMS}
        times = medians_in_turns(calls, args.rounds, args.seconds)
        for count in STREAMS[1:]:
            costs = (median(times["1"]), median(times[str(count)]))
            rows.append(row("streams", (1, count), f"{name}, {FRAMES} frames each", costs))
    for count in STREAMS[1:]:
        rows.append(row("streams", (1, count), "memory added", (memory[1], memory[count]), "MB"))
    return rows


class StageTimes:
    """Medians of the stages of key frames and of propagated ones, round by round."""

    def __init__(self, size: tuple[int, int], classes: int, threads: int) -> None:
        bundle = random_bundle(MODEL, size, classes)
        self._segmenter = stpl_rt.Segmenter(bundle, schedule="fixed:2", threads=threads)
        self._frames = street(size, 2)
        self._rounds: dict[str, list[float]] = {}

    def play(self, pairs: int, counts: bool = True) -> None:
        found: dict[str, list[float]] = {}
        for _ in range(pairs):
            self._segmenter.reset()
            for frame in self._frames:
                result = self._segmenter.push(frame)
                kind = "key" if result.is_key else "propagated"
                for stage, took in result.timing.items():
                    found.setdefault(f"{kind} frame, {stage.removesuffix('_ms')}", []).append(took)
        if counts:
            for part, times in found.items():
                self._rounds.setdefault(part, []).append(median(times))

    def medians(self) -> dict[str, float]:
        """Without the stages that a frame of that type does not have."""
        return {part: median(times) for part, times in self._rounds.items() if median(times) > 0}


def stages(
    what: str, sizes: tuple[float, float], cases: tuple[StageTimes, StageTimes], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row a stage: the smaller case against the larger."""
    for case in cases:
        case.play(3, counts=False)
    for _ in range(args.rounds):
        for case in cases:
            case.play(args.pairs)
    small, large = (case.medians() for case in cases)
    return [row(what, sizes, part, (small[part], large[part])) for part in small if part in large]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of one turn of a number of streams")
    parser.add_argument("--pairs", type=int, default=10, help="of a key and a propagated frame in one turn")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    pixels = (SMALL[0] * SMALL[1], LARGE[0] * LARGE[1])
    rows = streams(args)
    sizes = (StageTimes(SMALL, 19, args.threads), StageTimes(LARGE, 19, args.threads))
    rows += stages(f"pixels, {size_name(SMALL)} to {size_name(LARGE)}", pixels, sizes, args)
    classes = (StageTimes(SMALL, FEW, args.threads), StageTimes(SMALL, MANY, args.threads))
    rows += stages("classes", (FEW, MANY), classes, args)
    for found in rows:
        small, large = found["costs"]
        costs = f"{small:.2f} to {large:.2f} {found['unit']}"
        times = found["sizes"][1] / found["sizes"][0]
        print(f"{found['what']} x{times:.1f}, {found['part']}: {costs}, exponent {found['exponent']:.2f}")
    print(write_result("runtime_growth", {"model": MODEL, "threads": args.threads, "rows": rows}, args.json))


if __name__ == "__main__":
    main()
