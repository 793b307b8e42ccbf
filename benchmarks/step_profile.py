"""Where the time and the memory of an adaptation step go, and whether data is ever waited for.

    python benchmarks/step_profile.py                       the compact network at 320x240, batch 4
    python benchmarks/step_profile.py --device cuda --precision bf16 --size 512x1024 --model segformer-b0

`--model` is what the commands take (a run, a folder of transformers, hf:ORG/NAME, raw weights with --arch), or the name
of a network, with random weights: they cost a step as much. The video is a folder of PNG pictures at twice the
network's height and width. Nothing is kept in memory: every frame is decoded, prepared and given its flow again each
time, as in a video too large for the cache. Steps of STPL and of self-training alternate, so that the machine's noise
meets both alike. What the contrast (sampling, fusion, projection, loss) costs is read from a profile, its share of the
backward pass included; profiling lengthens its many small operations more than the networks' few large ones, so the
share is an upper bound. Memory is the peak of a fresh process for each method. On a GPU that is known: the step's
floating-point operations in its computing time, as a share of what the matrix units do in bf16 at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import PIL.Image
import torch
from record import write_result
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from stpl.cli.models import class_option, open_from_options, parse_size
from stpl.data.batches import PairBatch, PreparedVideo, prefetched
from stpl.data.class_map import CLASS_SETS
from stpl.data.flow import flow_on
from stpl.data.randomness import batch_indices
from stpl.data.specs import open_dataset
from stpl.data.sweep import Sweep
from stpl.models.registry import MODELS, architecture, build_model
from stpl.train.ahead import on_device
from stpl.train.checkpoint import Checkpoint, InputConfig
from stpl.train.config import AdaptConfig
from stpl.train.processes import Processes
from stpl.train.training import Adaptation

METHODS = ("self-training", "stpl")
CONTRAST = ("stpl/sampling", "stpl/fusion", "stpl/contrast")
PARTS = ("stpl/augment", "stpl/teacher", "stpl/student", *CONTRAST)
WARM_UP = 2
BACKWARD = "autograd::engine::evaluate_function"
BF16_LIMITS = {
    "NVIDIA H100 80GB HBM3": 989e12,  # the SXM one
    "NVIDIA H200": 989e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
}
"""Dense matrix products in bf16, FLOP/s, by the name that the driver gives; from the vendor's data sheets."""


class Bench:
    """One method with its data, made ahead as in a run.

    Args:
        args: ``batch_size``, ``device``, ``precision``, ``compile``, ``workers``.
        folder: data spec of the video.
        in_order: read the video in stretches of steps, as a run reads a video file.
    """

    def __init__(
        self,
        method: str,
        args: argparse.Namespace,
        source: Checkpoint,
        folder: str,
        steps: int,
        cache_megabytes: int = 0,
        in_order: bool = False,
    ) -> None:
        self.config = AdaptConfig.model_validate(
            {
                "method": method,
                "batch_size": args.batch_size,
                "device": args.device,
                "precision": args.precision,
                "compile": args.compile,
                "workers": args.workers,
            }
        )
        processes = Processes.start(args.device)
        self.device = processes.device
        self.video = PreparedVideo(
            open_dataset(folder),
            source.input.spec(),
            cache_megabytes=cache_megabytes,
            flow=flow_on(str(self.device)),
        )
        self.adaptation = Adaptation(self.config, source, processes)
        self.sweep = Sweep(self.video, self._frames, range(steps)) if in_order else None
        made = (batch for _, batch in prefetched(self._batch, range(steps), args.workers, self.device))
        self.batches = enumerate(on_device(made, self.device, channels_last=self.config.channels_last))
        self.waits: list[float] = []
        self.times: list[float] = []
        self.busy: list[float] = []
        self.making: list[float] = []

    def step(self) -> None:
        """One step as a run takes it: waits for the batch, then trains on it."""
        start = time.perf_counter()
        with record_function("stpl/data_wait"):
            number, batch = next(self.batches)
        ready, working = time.perf_counter(), time.thread_time()
        self.adaptation.step(number, batch)()  # asked for the losses, it waits: a GPU is done, too
        # With one thread on a CPU, what others do on the machine at the same time does not count.
        alone = self.config.device == "cpu" and torch.get_num_threads() == 1
        self.busy.append(time.thread_time() - working if alone else time.perf_counter() - ready)
        self.waits.append(ready - start)
        self.times.append(time.perf_counter() - start)

    def _batch(self, step: int) -> list[PairBatch]:
        if self.sweep is not None:
            self.sweep.wait_for(step)
        start = time.thread_time()
        batch = self.video.pair_batch(self._indices(step))
        batch = batch.pinned() if self.device.type == "cuda" else batch
        self.making.append(time.thread_time() - start)
        return [batch]

    def _indices(self, step: int) -> list[int]:
        chosen = batch_indices(len(self.video.pairs), self.config.batch_size, 0, step)
        return [self.video.pairs[i] for i in chosen]

    def _frames(self, step: int) -> list[int]:
        return [frame for index in self._indices(step) for frame in (index - 1, index)]


def opened(model: str, arch: str | None, classes: str | None, size: str) -> Checkpoint:
    """The model at the size of the network's input. UserError as in the commands."""
    option = class_option(classes)
    if model not in MODELS or Path(model).exists():
        return open_from_options(model, arch, option, size)
    names = CLASS_SETS["cityscapes-19"] if option is None or option.names is None else option.names
    height, width = parse_size(size)
    model_input = InputConfig.model_validate({**asdict(architecture(model).input), "height": height, "width": width})
    torch.manual_seed(0)
    return Checkpoint(model, names, model_input, {}).with_weights(build_model(model, len(names)))


def write_frames(folder: Path, height: int, width: int, frames: int) -> str:
    """Generated dusk as PNG pictures at twice the network's size; returns the folder as a data spec."""
    video = open_dataset(f"synthstreet:?domain=dusk&seed=500&sequences=1&frames={frames}&size={height}x{width}")
    for index in range(frames):
        picture = PIL.Image.fromarray(video.frame(index)).resize((2 * width, 2 * height))
        picture.save(folder / f"{index:06d}.png", compress_level=1)
    return str(folder)


def measure_times(args: argparse.Namespace, source: Checkpoint, folder: str) -> dict[str, Any]:
    """Median time, computing time and wait of each method's steps, in turns; a pair of steps gives a ratio."""
    benches = {method: Bench(method, args, source, folder, WARM_UP + args.steps) for method in METHODS}
    for _ in range(WARM_UP + args.steps):
        for bench in benches.values():
            bench.step()
    rows: dict[str, Any] = {}
    for method, bench in benches.items():
        times, waits = bench.times[WARM_UP:], bench.waits[WARM_UP:]
        rows[method] = {
            "step_ms": 1e3 * median(times),
            "compute_ms": 1e3 * median(bench.busy[WARM_UP:]),
            "data_making_ms": 1e3 * median(bench.making),
            "data_wait_ms": 1e3 * median(waits),
            "data_wait_ms_max": 1e3 * max(waits),
            "data_wait_share": sum(waits) / sum(times),
        }
    pairs = zip(*(benches[method].busy[WARM_UP:] for method in ("stpl", "self-training")), strict=True)
    return {"methods": rows, "ratio": median(a / b for a, b in pairs)}


def measure_flops(args: argparse.Namespace, source: Checkpoint, folder: str) -> dict[str, int]:
    """Floating-point operations of one step of each method: matrix products and convolutions, backward ones, too."""
    seen = argparse.Namespace(**{**vars(args), "compile": False})  # compiled, they are hidden from the counter
    found = {}
    for method in METHODS:
        bench = Bench(method, seen, source, folder, WARM_UP + 1)
        for _ in range(WARM_UP):
            bench.step()
        with FlopCounterMode(display=False) as counter:
            bench.step()
        found[method] = int(counter.get_total_flops())
    return found


def bf16_share(flops: int, milliseconds: float, gpu: str) -> float | None:
    """Share of the GPU's bf16 limit that was reached; None where the limit is not known."""
    limit = BF16_LIMITS.get(gpu)
    return None if limit is None else flops / (1e-3 * milliseconds) / limit


def measure_shares(args: argparse.Namespace, source: Checkpoint, folder: str) -> dict[str, float]:
    """Share of an STPL step's computing that goes to each part, its backward pass included."""
    bench = Bench("stpl", args, source, folder, WARM_UP + args.profiled)
    for _ in range(WARM_UP):
        bench.step()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (args.device != "cpu")
    with profile(activities=activities) as profiler:
        for _ in range(args.profiled):
            bench.step()
    whole = sum(bench.times[WARM_UP:]) - sum(bench.waits[WARM_UP:])
    events = profiler.events() or []
    shares = {part.removeprefix("stpl/"): 1e-6 * _time_of(part, events) / whole for part in PARTS}
    shares["contrast_in_all"] = sum(shares[part.removeprefix("stpl/")] for part in CONTRAST)
    return shares


def _time_of(part: str, events: Sequence[FunctionEvent]) -> float:
    """Microseconds in the ranges of this name, and in the backward pass of what was computed within them.

    An operation and its backward function carry the same sequence number. On a GPU it is the kernels' time.
    """
    ranges = [e for e in events if e.name == part and e.device_type == torch.autograd.DeviceType.CPU]
    numbers = {e.sequence_nr for r in ranges for e in _below(r) if e.sequence_nr >= 0}
    backward = [e for e in events if e.name.startswith(BACKWARD) and e.sequence_nr in numbers]
    return sum(max(e.cpu_time_total, e.device_time_total) for e in (*ranges, *backward))


def _below(event: FunctionEvent) -> Iterator[FunctionEvent]:
    for child in event.cpu_children:
        yield child
        yield from _below(child)


def measure_memory(args: argparse.Namespace, folder: str) -> dict[str, float]:
    """Peak memory in megabytes of a fresh process that takes a few steps of each method."""
    peaks = {}
    for method in METHODS:
        command = [sys.executable, __file__, "--peak-of", method, folder, *_own_options(args)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[method] = float(json.loads(done.stdout.splitlines()[-1]))
    return {**peaks, "added": peaks["stpl"] - peaks["self-training"]}


def _own_options(args: argparse.Namespace) -> list[str]:
    names = ("model", "arch", "classes", "size", "batch_size", "device", "precision", "workers", "threads")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    options = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return [*options, *(["--compile"] if args.compile else [])]


def peak(method: str, args: argparse.Namespace, source: Checkpoint, folder: str) -> float:
    """Peak memory of this process, or of its GPU, in megabytes after three steps."""
    bench = Bench(method, args, source, folder, 3)
    for _ in range(3):
        bench.step()
    if args.device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    # Not getrusage: its peak survives exec, and would be that of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(status.split("VmHWM:", 1)[1].split()[0]) / 2**10


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    source = opened(args.model, args.arch, args.classes, args.size)
    if args.peak_of:
        method, folder = args.peak_of
        print(json.dumps(peak(method, args, source, folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_frames(Path(temporary), source.input.height, source.input.width, args.frames)
        results = {
            "settings": {name: value for name, value in vars(args).items() if name not in ("peak_of", "json")},
            **measure_times(args, source, folder),
            "shares": measure_shares(args, source, folder),
            "peak_mb": measure_memory(args, folder),
        }
        if args.device != "cpu":
            add_flops(results["methods"], measure_flops(args, source, folder), torch.cuda.get_device_name(args.device))
    for method, row in results["methods"].items():
        print(f"{method}: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items()))
    print(f"ratio {results['ratio']:.2f}")
    print("shares: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in results["shares"].items()))
    print("peak: " + ", ".join(f"{name} {value:.0f} MB" for name, value in results["peak_mb"].items()))
    print(write_result("step_profile", results, args.json))


def add_flops(rows: dict[str, Any], flops: dict[str, int], gpu: str) -> None:
    """Writes each method's operations, and what share of the GPU's limit they are, to its row."""
    for method, row in rows.items():
        row["tflop"] = 1e-12 * flops[method]
        share = bf16_share(flops[method], row["compute_ms"], gpu)
        if share is not None:
            row["bf16_share"] = share


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/street-day", help="what the commands take, or a network's name")
    parser.add_argument("--arch", default=None, help="network of raw weights, or package.module:factory of your own")
    parser.add_argument("--classes", default=None, help="of raw weights, or of a network by name: cityscapes-19, say")
    parser.add_argument("--size", default="240x320", help="of the network's input, height x width")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, default=AdaptConfig().workers)
    parser.add_argument("--threads", type=int, default=1, help="of the steps' computing on the CPU")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--profiled", type=int, default=4)
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    parser.add_argument("--peak-of", nargs=2, metavar=("METHOD", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
