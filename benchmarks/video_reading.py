"""Whether a training on a video file waits for its frames: read in order, as a run does, and at random.

    python benchmarks/video_reading.py

The file is H.264 at 1280x720 whose only key frame is its first, as long recordings come close to: a frame at random
costs half of the file. The network is the compact one at 320x240 and the method STPL, so that steps are short. The
memory for prepared frames holds neither the file nor what is measured of it.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
import PIL.Image
import torch
from record import write_result
from step_profile import WARM_UP, Bench

from stpl.data.specs import open_dataset
from stpl.train.checkpoint import load_checkpoint

WIDTH, HEIGHT = 1280, 720
GENERATED = 40
"""Frames that are generated; the file shows them forwards and backwards in turns."""


def write_video(file: Path, frames: int) -> None:
    """The file to read."""
    video = open_dataset(f"synthstreet:?domain=dusk&seed=500&sequences=1&frames={GENERATED}&size=240x320")
    pictures = [np.asarray(PIL.Image.fromarray(video.frame(i)).resize((WIDTH, HEIGHT))) for i in range(GENERATED)]
    turns = [*range(GENERATED), *range(GENERATED - 2, 0, -1)]
    with av.open(str(file), "w") as container:
        options = {"g": str(frames), "keyint_min": str(frames), "sc_threshold": "0", "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            picture = pictures[turns[number % len(turns)]]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def measure(args: argparse.Namespace, file: Path, in_order: bool, steps: int) -> dict[str, float]:
    """Waiting and computing of the steps, without the first ones."""
    source = load_checkpoint(args.model)
    bench = Bench("stpl", args, source, str(file), WARM_UP + steps, args.cache_megabytes, in_order)
    with bench.sweep or nullcontext():
        for _ in range(WARM_UP + steps):
            bench.step()
    times, waits = bench.times[WARM_UP:], bench.waits[WARM_UP:]
    return {
        "before_the_first_step_s": bench.waits[0],
        "compute_ms": 1e3 * median(bench.busy[WARM_UP:]),
        "wait_share": sum(waits) / sum(times),
        "step_ms": 1e3 * sum(times) / len(times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/street-day"))
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--random-steps", type=int, default=4, help="of those at random, which take long")
    parser.add_argument("--cache-megabytes", type=int, default=600, help="for prepared frames")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    args.device, args.precision, args.compile = "cpu", "f32", False
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "drive.mp4"
        write_video(file, args.frames)
        for name, in_order, steps in (("in order", True, args.steps), ("at random", False, args.random_steps)):
            rows[name] = measure(args, file, in_order, steps)
            print(name, {key: round(value, 3) for key, value in rows[name].items()})
    settings = {name: value for name, value in vars(args).items() if name not in ("json", "model")}
    print(write_result("video_reading", {"settings": settings, "rows": rows}, args.json))


if __name__ == "__main__":
    main()
