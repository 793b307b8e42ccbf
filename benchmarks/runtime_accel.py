r"""Accel mode: what it disagrees with `every`, beside the same schedule without it, and what it costs.

    python benchmarks/runtime_accel.py --model runs/demo/stpl --out runs/bench/accel-dusk \
        --video "synthstreet:?domain=dusk&seed=41&sequences=12&frames=60&fps=15&size=240x320" \
        --data "synthstreet:?domain=dusk&seed=42&sequences=2&frames=60&fps=15&size=240x320"
    python benchmarks/runtime_accel.py --model runs/camvid/source --out runs/bench/accel-camvid --measured 50 \
        --data "folder:$STPL_CAMVID?sequences=day_0016E5_15hz"

The networks are trained on --video without labels, and measured on --data; with --measured N, on the first N frames of
--data's sequences after training on the others. Disagreement is the share of pixels whose label is not the one that the
network gives the frame itself, over all frames and all K phases of `fixed:K`, key frames included. Speed is of push()
on frames of the video's own size, schedules in turns. The mIoU is over the classes present, where frames have labels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from record import RESULTS, write_result

import stpl_rt
from stpl.config import load_config
from stpl.data.batches import PreparedVideo
from stpl.data.dataset import Image, LabelMap, VideoDataset
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.export import export_bundle
from stpl.metrics import ConfusionMatrix
from stpl.train.accel import AccelConfig, load_accel, train_accel
from stpl.train.carried import stream_flow
from stpl.train.checkpoint import Checkpoint, load_checkpoint
from stpl.train.run import ACCEL_FILE, MetricsLog

MODES: dict[str, dict[str, bool]] = {
    "carried": {},
    "update": {"update": True},
    "fuse": {"fuse": True},
    "fuse, update": {"fuse": True, "update": True},
}


class FromFrame(InMemory):
    """The frames of each sequence from number ``first`` on; nothing comes before that one."""

    def __init__(self, dataset: VideoDataset, first: int) -> None:
        super().__init__(dataset)
        self._first = first
        self._kept = [i for i in range(len(dataset)) if dataset.frame_id(i).index_in_sequence >= first]
        self._place = {index: place for place, index in enumerate(self._kept)}
        self.name = f"{dataset.name}, from frame {first} on"

    def __len__(self) -> int:
        return len(self._kept)

    def frame(self, index: int) -> Image:
        return super().frame(self._kept[index])

    def previous(self, index: int) -> int | None:
        before = super().previous(self._kept[index])
        return None if before is None else self._place.get(before)

    def stored_flow(self, index: int) -> Any:
        return super().stored_flow(self._kept[index])


@dataclass
class Clip:
    """Consecutive frames, their labels where they have some, and what `every` says of them."""

    frames: list[Image] = field(default_factory=list)
    truth: list[LabelMap | None] = field(default_factory=list)
    every: list[Any] = field(default_factory=list)


def read_clips(data: VideoDataset, measured: int | None) -> list[Clip]:
    clips: dict[str, Clip] = {}
    for index in range(len(data)):
        at = data.frame_id(index)
        if measured is None or at.index_in_sequence < measured:
            clip = clips.setdefault(at.sequence, Clip())
            clip.frames.append(data.frame(index))
            clip.truth.append(data.label(index) if data.classes is not None else None)
    return list(clips.values())


def passes(bundle: stpl_rt.Bundle, interval: int, clips: list[Clip], **options: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Result, `every`'s labels and true labels of every frame, in each phase of ``fixed:interval``."""
    schedule = "every" if interval == 1 else f"fixed:{interval}"
    segmenter = stpl_rt.Segmenter(bundle, schedule=schedule, scene_cuts=False, **options)
    for clip in clips:
        for phase in range(interval):
            segmenter.reset()
            for i in range(phase, len(clip.frames)):
                yield segmenter(clip.frames[i]), clip.every[i] if clip.every else None, clip.truth[i]


def measure(bundle: stpl_rt.Bundle, interval: int, clips: list[Clip], **options: Any) -> dict[str, Any]:
    """Disagreement and mIoU of one schedule and mode."""
    wrong, confusion = [], ConfusionMatrix(len(bundle.classes))
    for result, every, truth in passes(bundle, interval, clips, threads=1, **options):
        wrong.append(float((result.labels != every).mean()))
        if truth is not None:
            confusion.update(result.labels, truth)
    labelled = confusion.counts.sum() > 0
    return {"disagreement": sum(wrong) / len(wrong), "miou": 100 * confusion.miou if labelled else None}


def frame_milliseconds(segmenter: stpl_rt.Segmenter, frames: list[Image]) -> float:
    """Mean time of push() over the frames."""
    segmenter.reset()
    return sum(segmenter(frame).timing["total_ms"] for frame in frames) / len(frames)


def speeds(
    bundle: stpl_rt.Bundle, interval: int, frames: list[Image], modes: list[str], threads: int
) -> dict[str, Any]:
    """Of each mode the frames a second over those of `every`: the median of ratios taken in turns."""
    every = stpl_rt.Segmenter(bundle, schedule="every", threads=threads)
    others = {
        mode: stpl_rt.Segmenter(bundle, schedule=f"fixed:{interval}", threads=threads, scene_cuts=False, **MODES[mode])
        for mode in modes
    }
    frames = frames[: 4 * interval]
    for segmenter in (every, *others.values()):
        frame_milliseconds(segmenter, frames)
    ratios: dict[str, list[float]] = {mode: [] for mode in modes}
    for _ in range(7):
        base = frame_milliseconds(every, frames)
        for mode, segmenter in others.items():
            ratios[mode].append(base / frame_milliseconds(segmenter, frames))
    return {mode: median(values) for mode, values in ratios.items()}


def train(config: AccelConfig, checkpoint: Checkpoint, video: VideoDataset, out: Path) -> Path:
    """The bundle with the networks, made where ``out`` does not hold one yet of this model, video and settings."""
    key = f"{checkpoint.digest} {video.name} {len(video)} {config.model_dump_json()}"
    folder = out / hashlib.sha256(key.encode()).hexdigest()[:12]
    bundle = folder / "bundle"
    if not bundle.is_dir():
        prepared = PreparedVideo(video, checkpoint.input.spec(), flow=stream_flow)
        folder.mkdir(parents=True, exist_ok=True)
        train_accel(
            config, checkpoint, prepared, folder, MetricsLog(folder / "metrics.jsonl"), device=torch.device("cpu")
        )
        export_bundle(checkpoint, bundle, [video.frame(0)], accel=load_accel(folder / ACCEL_FILE, checkpoint))
    return bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="adapted checkpoint")
    parser.add_argument("--data", required=True, help="data spec of clips of consecutive frames")
    parser.add_argument("--video", help="data spec of what is trained on")
    parser.add_argument("--measured", type=int, help="train on --data, but for so many frames of each sequence")
    parser.add_argument("--out", type=Path, required=True, help="where what is trained is kept")
    parser.add_argument("--intervals", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the timings")
    parser.add_argument("--json", type=Path, default=RESULTS / "runtime_accel.json")
    parser.add_argument("settings", nargs="*", help="steps=600 and so on")
    args = parser.parse_args()
    if (args.video is None) == (args.measured is None):
        parser.error("expected one of --video and --measured")
    data, checkpoint = open_dataset(args.data), load_checkpoint(args.model)
    video = open_dataset(args.video) if args.video else FromFrame(data, args.measured)
    config = load_config(AccelConfig, None, args.settings)
    bundle = stpl_rt.Bundle.open(train(config, checkpoint, video, args.out))
    clips = read_clips(data, args.measured)
    for clip in clips:
        clip.every = [result.labels for result, _, _ in passes(bundle, 1, [clip], threads=1)]
    present = {"fuse": bundle.fuse is not None, "update": bundle.update is not None}
    modes = [mode for mode, options in MODES.items() if all(present[name] for name in options)]
    rows = []
    for interval in args.intervals:
        ratios = {n: speeds(bundle, interval, clips[0].frames, modes, n) for n in args.threads}
        for mode in modes:
            row = {"interval": interval, "mode": mode, **measure(bundle, interval, clips, **MODES[mode])}
            row["times_every"] = {n: ratios[n][mode] for n in args.threads}
            rows.append(row)
            print(row, flush=True)
    found = {
        "model": str(checkpoint.provenance.get("method", "source")), "video": video.name, "data": data.name,
        "frames": sum(len(clip.frames) for clip in clips), "kept": present, "settings": config.model_dump(mode="json"),
        "every_miou": measure(bundle, 1, clips)["miou"], "rows": rows,
    }  # fmt: skip
    done = {}
    if args.json.is_file():  # the clips of other calls stay
        done = json.loads(args.json.read_text(encoding="utf-8"))["results"]["clips"]
    done[hashlib.sha256(f"{args.data} {args.video} {args.settings}".encode()).hexdigest()[:8]] = found
    print(write_result("runtime_accel", {"clips": done}, args.json))


if __name__ == "__main__":
    main()
