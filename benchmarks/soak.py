"""Hours of everything that can happen to a stream, in one process: nothing may grow, get out of order, or crash.

    python benchmarks/soak.py                  an hour
    python benchmarks/soak.py --minutes 10

Streams of one bundle take frames that are dropped, repeated, resized, damaged and of changing formats and layouts,
with clocks that jump; some are refused (wrong types and shapes, flow of NaN); streams are reset and made anew at
random, queues filled, results held for random times. Checked: results come in order and fit their frames; a stretch of
video that is played again to a new Segmenter gives the same labels, bit for bit; a result that is held does not change;
memory does not grow once it has settled (in use, and occupied); the numbers of threads and open files are constant.
All follows from --seed but how much of it fits into the time.
"""

from __future__ import annotations

import argparse
import faulthandler
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from process_watch import MIB, Sample, faults, growth, sample, settled
from record import RESULTS, write_result
from soak_stream import SoakStream, WrongError

import stpl_rt

ROOT = Path(__file__).resolve().parent.parent
ALLOWED_USED = 4 * MIB
"""Growth of memory in use over the run: 16 bytes lost a frame are more than that in an hour."""
ALLOWED_RSS = 96 * MIB
"""Of the memory occupied: frames of all sizes leave holes, the more the longer it lasts, within bounds."""
STUCK = 120.0
"""Seconds without a sample after which the run ends with all threads' stacks."""
STREAMS: tuple[dict[str, Any], ...] = (
    {"schedule": "every"},
    {"schedule": "fixed:3", "confidence": True, "queue": 2},
    {"schedule": "fixed:5", "key_lag": 2},
    {"schedule": "adaptive", "confidence": True, "scene_cuts": False, "queue": 1},
    {"schedule": "adaptive:0.1:9", "key_lag": 1, "queue": 8},
    {"schedule": "adaptive:0.2:9", "flow_check": True, "confidence": True},
    {"schedule": "fixed:4", "fuse": True, "update": True, "confidence": True, "queue": 2},
    {"schedule": "every", "fuse": True},
)


def make_bundle(folder: Path) -> Path:
    """The C++ tests' bundle: networks so light that the time goes into our own code, those of accel mode among them."""
    subprocess.run([sys.executable, str(ROOT / "tests/cpp/make_test_bundle.py"), str(folder)], check=True)
    return folder / "accel"


def streams_of(bundle: stpl_rt.Bundle) -> list[dict[str, Any]]:
    """The options of each stream; those of accel mode only where the bundle has its networks."""
    missing = {name for name in ("fuse", "update") if getattr(bundle, name) is None}
    return [dict(options) for options in STREAMS if not missing.intersection(options)]


class Progress:
    """A line on standard error, written over where it is a terminal."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = "\r" if sys.stderr.isatty() else "\n"

    def show(self, now: Sample, frames: int) -> None:
        share = min(now.seconds / self._seconds, 1.0)
        bar = "#" * round(30 * share) + "." * (30 - round(30 * share))
        print(
            f"[{bar}] {now.seconds / 60:.1f} of {self._seconds / 60:.1f} min  {frames} frames  "
            f"{now.rss / MIB:.1f} MiB  {now.threads} threads  {now.files} files ",
            end=self._end,
            file=sys.stderr,
            flush=True,
        )


def soak(bundle: stpl_rt.Bundle, seconds: float, seed: int, threads: int) -> dict[str, Any]:
    """Runs the streams for so long and says what became of it; `failures` is empty where all is well."""
    random = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    settings = streams_of(bundle)
    streams = [
        SoakStream(bundle, {"threads": threads, **options}, seed + 1 + i, counts) for i, options in enumerate(settings)
    ]
    progress = Progress(seconds)
    samples: list[Sample] = []
    failures: list[str] = []
    interval = min(10.0, seconds / 40)
    begin = time.monotonic()
    while not samples or samples[-1].seconds < seconds:
        faulthandler.dump_traceback_later(STUCK, exit=True)
        until = time.monotonic() + interval
        try:
            while time.monotonic() < until:
                streams[random.integers(len(streams))].act()
            for stream in streams:
                stream.quiet()
        except (WrongError, stpl_rt.Error) as error:
            failures.append(f"{type(error).__name__}: {error}")
            break
        samples.append(sample(time.monotonic() - begin))
        progress.show(samples[-1], counts["frames"])
    faulthandler.cancel_dump_traceback_later()
    return {"streams": settings, **report(samples, seconds, counts, failures)}


def report(samples: list[Sample], seconds: float, counts: Counter[str], failures: list[str]) -> dict[str, Any]:
    """The run in numbers."""
    late = settled(samples, warm_up=seconds * 0.2)
    failures = failures + faults(late, ALLOWED_USED, ALLOWED_RSS)
    return {
        "minutes": round(seconds / 60, 2),
        "counts": dict(sorted(counts.items())),
        "memory_mib": {
            "settled": round(late[0].rss / MIB, 1) if late else None,
            "most": round(max((s.rss for s in samples), default=0) / MIB, 1),
            "last": round(samples[-1].rss / MIB, 1) if samples else None,
            "growth": round(growth([s.seconds for s in late], [s.rss for s in late]) / MIB, 2) if late else None,
            "in_use": round(samples[-1].used / MIB, 2) if samples else None,
            "growth_in_use": round(growth([s.seconds for s in late], [s.used for s in late]) / MIB, 3)
            if late
            else None,
        },
        "threads": sorted({s.threads for s in late}),
        "open_files": sorted({s.files for s in late}),
        "failures": failures,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--bundle", type=Path, help="default: the bundle of the C++ tests, of very light networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="of each stream")
    parser.add_argument("--json", type=Path, default=RESULTS / "soak.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = stpl_rt.Bundle.open(args.bundle or make_bundle(Path(folder)))
        results = soak(bundle, args.minutes * 60, args.seed, args.threads)
    results = {"bundle": bundle.name, "seed": args.seed, "threads_a_stream": args.threads, **results}
    path = write_result("soak", results, args.json)
    for failure in results["failures"]:
        print(f"FAILED: {failure}", file=sys.stderr)
    print(f"{results['counts'].get('frames', 0)} frames in {args.minutes:g} minutes; {path}")
    return 1 if results["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
