r"""Schedules at the same rate of key frames: what `adaptive` disagrees with `every`, beside what `fixed` does.

    python benchmarks/runtime_schedules.py --bundle runs/demo/bundle \
        --data "synthstreet:?domain=dusk&seed=41&sequences=1&frames=160&fps=30&size=240x320" --vary-speed
    python benchmarks/runtime_schedules.py --bundle runs/bench/camvid-bundle \
        --data "folder:$STPL_CAMVID?sequences=day_0016E5_15hz"

Disagreement is the share of the pixels whose label is not the one that the network gives the frame itself, over all
frames, key frames included. `fixed:K` is run in each of its K phases, `adaptive` from five starts; `fixed` at a rate
between K and K+1 is that of taking the two in turns. `adaptive` also with the forward-backward check of flow
(`flow_check`). With --vary-speed every other second of the video is shown at four times its speed.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, write_result

import stpl_rt
from stpl.data.dataset import Image
from stpl.data.specs import open_dataset

INTERVALS = tuple(range(2, 13))
"""All of them: between two neighbours K and K+1 linear interpolation in the rate is what a schedule has that takes both
in turns. Between K further apart it would be more, and flatter `adaptive`."""
DRIFTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
PHASES = 5
"""Starts of an adaptive run."""


def varied(frames: list[Image], normal: int = 15, speed: int = 4) -> list[Image]:
    """The video with stretches of ``normal`` shown frames at its own speed and at ``speed`` times it, in turns."""
    shown, index = [], 0
    while index < len(frames):
        shown.append(frames[index])
        index += speed if len(shown) // normal % 2 else 1
    return shown


def measure(
    bundle: stpl_rt.Bundle,
    schedule: str,
    frames: list[Image],
    every: list[Image],
    phases: int,
    flow_check: bool = False,
) -> dict[str, Any]:
    """Share of frames that are key frames, and mean disagreement, over all phases."""
    keys, wrong = [], []
    for phase in range(phases):
        segmenter = stpl_rt.Segmenter(bundle, schedule=schedule, flow_check=flow_check, threads=1)
        for frame, labels in zip(frames[phase:], every[phase:], strict=True):
            result = segmenter(frame)
            keys.append(result.is_key)
            wrong.append(float((result.labels != labels).mean()))
    return {
        "schedule": schedule,
        "flow_check": flow_check,
        "key_rate": float(np.mean(keys)),
        "disagreement": float(np.mean(wrong)),
    }


def compare(bundle: stpl_rt.Bundle, frames: list[Image]) -> dict[str, Any]:
    """All schedules on one clip."""
    framewise = stpl_rt.Segmenter(bundle, schedule="every", threads=1)
    every = [framewise(frame).labels for frame in frames]
    fixed = [measure(bundle, f"fixed:{interval}", frames, every, interval) for interval in INTERVALS]
    rates = [row["key_rate"] for row in fixed][::-1]
    shares = [row["disagreement"] for row in fixed][::-1]
    adaptive = []
    for flow_check, drift in itertools.product((False, True), DRIFTS):
        row = measure(bundle, f"adaptive:{drift}:30", frames, every, PHASES, flow_check)
        if rates[0] <= row["key_rate"] <= rates[-1]:
            row["fixed_at_that_rate"] = float(np.interp(row["key_rate"], rates, shares))
            adaptive.append(row)
    return {"fixed": fixed, "adaptive": adaptive}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", required=True, help="data spec of a clip of consecutive frames")
    parser.add_argument("--vary-speed", action="store_true")
    parser.add_argument("--json", type=Path, default=RESULTS / "runtime_schedules.json")
    args = parser.parse_args()
    data = open_dataset(args.data)
    frames = [data.frame(i) for i in range(len(data))]
    if args.vary_speed:
        frames = varied(frames)
    bundle = stpl_rt.Bundle.open(args.bundle)
    clip = {"data": data.name, "varied": args.vary_speed, "frames": len(frames), "model": bundle.name}
    found = {**clip, **compare(bundle, frames)}
    for row in found["adaptive"]:
        print(
            f"{row['schedule']}{', flow_check' if row['flow_check'] else ''}: every {1 / row['key_rate']:.1f} frames, "
            f"disagrees on {100 * row['disagreement']:.2f} %, fixed there on {100 * row['fixed_at_that_rate']:.2f} %"
        )
    clips = {}
    if args.json.is_file():  # the clips of other calls stay
        clips = json.loads(args.json.read_text(encoding="utf-8"))["results"]["clips"]
    clips[hashlib.sha256(f"{args.data} {args.vary_speed}".encode()).hexdigest()[:8]] = found
    print(write_result("runtime_schedules", {"clips": clips}, args.json))


if __name__ == "__main__":
    main()
