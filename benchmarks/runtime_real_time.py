r"""Real time on two cores: the compact network at 1024x512, `every` beside `adaptive`, in frames/s and in mIoU.

    python benchmarks/runtime_real_time.py --model runs/camvid/source \
        --data "folder:$STPL_CAMVID?sequences=day_0016E5_15hz"

The checkpoint is exported with an input of 1024x512 and the clip's frames are enlarged to that size before they are
pushed, their labels with them: this is about time at that size, and about what `adaptive` loses against `every`, not
about the mIoU of a network that was trained on smaller pictures. Both schedules take turns; frames/s are of push()
alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from record import write_result
from runtime_networks import read_size, size_name, trained_bundle
from runtime_propagation import labelled_clip, percent

import stpl_rt
from stpl.metrics import ConfusionMatrix

SCHEDULES = ("every", "adaptive")


class Pass:
    """One run through the clip."""

    def __init__(self, segmenter: stpl_rt.Segmenter, frames: list[Any], labels: list[Any], every: list[Any]) -> None:
        """``every``: the labels that each frame gets from the network itself; filled where it is empty."""
        confusion = ConfusionMatrix(len(segmenter.bundle.classes))
        taken, keys, wrong = 0.0, 0, []
        segmenter.reset()
        for index, (frame, label) in enumerate(zip(frames, labels, strict=True)):
            start = time.perf_counter()
            result = segmenter.push(frame)
            taken += time.perf_counter() - start
            keys += result.is_key
            if label is not None:
                confusion.update(result.labels, label)
            if len(every) == index:
                every.append(result.labels)
            wrong.append(float((result.labels != every[index]).mean()))
        self.frames_per_second = len(frames) / taken
        self.key_rate = keys / len(frames)
        self.miou = percent(confusion)
        self.disagreement = float(np.mean(wrong))


def enlarged(frames: list[Any], labels: list[Any], size: tuple[int, int]) -> tuple[list[Any], list[Any]]:
    """Both at ``size``; labels take the nearest."""
    large = [cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in frames]
    return large, [
        None if label is None else cv2.resize(label, size, interpolation=cv2.INTER_NEAREST) for label in labels
    ]


def measure(bundle: stpl_rt.Bundle, frames: list[Any], labels: list[Any], args: argparse.Namespace) -> Any:
    """A row for each schedule; labels do not change from round to round, times do."""
    segmenters = {name: stpl_rt.Segmenter(bundle, schedule=name, threads=args.threads) for name in SCHEDULES}
    passes: dict[str, list[Pass]] = {name: [] for name in SCHEDULES}
    every: list[Any] = []
    for segmenter in segmenters.values():
        for frame in frames[:5]:
            segmenter.push(frame)
    for _ in range(args.rounds):
        for name, segmenter in segmenters.items():
            passes[name].append(Pass(segmenter, frames, labels, every))
    return [
        {
            "schedule": segmenters[name].schedule,
            "frames_per_second": median(one.frames_per_second for one in found),
            "key_rate": found[0].key_rate,
            "miou": found[0].miou,
            "disagreement": found[0].disagreement,
        }
        for name, found in passes.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="checkpoint, or the folder of the run that wrote it")
    parser.add_argument("--data", required=True, help="data spec of a clip of consecutive frames, some labelled")
    parser.add_argument("--size", type=read_size, default=(1024, 512), metavar="WxH", help="of input and frames")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    bundle = trained_bundle(args.model, args.size)
    frames, labels = enlarged(*labelled_clip(args.data), args.size)
    rows = measure(bundle, frames, labels, args)
    for row in rows:
        print(
            f"{row['schedule']}: {row['frames_per_second']:.1f} frames/s, mIoU {row['miou']:.2f}, every "
            f"{1 / row['key_rate']:.1f} frames a key, disagrees on {100 * row['disagreement']:.2f} %"
        )
    setting = {"model": bundle.name, "size": size_name(args.size), "threads": args.threads, "frames": len(frames)}
    print(write_result("runtime_real_time", {**setting, "rows": rows}, args.json))


if __name__ == "__main__":
    main()
