"""A step of STPL beside one of plain self-training: time, memory, and share of what the GPU can do in bf16.

    python benchmarks/gpu_training_step.py                                      both networks at 1024x512 on a GPU
    python benchmarks/gpu_training_step.py --device cpu --size 64x64 --networks compact --batch-size 1 --steps 2

The networks have random weights, which cost a step as much as others; nothing is downloaded. Batches are drawn from a
few that are made ahead and go to the GPU as in a run: from pinned memory, on a stream of their own. The methods take
turns, block by block, so that the machine's noise meets both alike. A block's steps follow each other without a wait;
its time is from the first step's start until the last one's losses are on the host. The bf16 limit is the fastest of
some large matrix products, measured in the same run; a step's floating-point operations are those of its matrix
products and convolutions, forward and backward. The optical flow of a pair, which a run computes while it trains, is
timed beside the steps: on the CPU with one thread, and where the training takes it to be computed. The file is written
after each network: what fails or stops it later leaves what was measured.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from record import write_result
from step_profile import opened
from torch.utils.flop_counter import FlopCounterMode

from stpl.data.batches import PairBatch
from stpl.data.flow import compute_flow, flow_on
from stpl.train.ahead import on_device
from stpl.train.checkpoint import Checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.processes import Processes
from stpl.train.training import Adaptation, precision_of

logger = logging.getLogger(__name__)

METHODS = ("self-training", "stpl")
NETWORKS = ("segformer-b5", "accel_deeplabv2")
PREPARED = 3
"""Batches that the steps take in turn."""
WARM_UP = 3
LIMIT_SIZE = 8192
"""Rows and columns of the matrices whose product is the limit."""


class Stepper:
    """One method's adaptation, fed as in a run."""

    def __init__(self, method: str, args: argparse.Namespace, source: Checkpoint) -> None:
        given = {"batch_size": args.batch_size, "device": args.device, "precision": args.precision}
        layout = {"channels_last": not args.channels_first, "compile": args.compile}
        self.config = AdaptConfig.model_validate({"method": method, **given, **layout})
        self.processes = Processes.start(args.device)
        torch.manual_seed(0)
        self.adaptation = Adaptation(self.config, source, self.processes)
        height, width = source.input.height, source.input.width
        made = [_batch(args.batch_size, height, width, number) for number in range(PREPARED)]
        if self.processes.device.type == "cuda":
            made = [batch.pinned() for batch in made]
        self._batches = self._endless(made)
        self._steps = itertools.count()

    def block(self, steps: int) -> float:
        """Seconds of one step, of ``steps`` that follow each other."""
        start = time.perf_counter()
        asked = [self._step() for _ in range(steps)]
        asked[-1]()  # waits for all of them
        return (time.perf_counter() - start) / steps

    def enqueued(self) -> float:
        """Seconds until the host has handed over one step, the device having nothing else to do."""
        self.finish()
        start = time.perf_counter()
        asked = self._step()
        taken = time.perf_counter() - start
        asked()
        return taken

    def operations(self) -> int:
        """Floating-point operations of one step."""
        with FlopCounterMode(display=False) as counter:
            self._step()()
        return int(counter.get_total_flops())

    def finish(self) -> None:
        if self.processes.device.type == "cuda":
            torch.cuda.synchronize(self.processes.device)

    def _step(self) -> Callable[[], dict[str, float]]:
        return self.adaptation.step(next(self._steps), next(self._batches))

    def _endless(self, made: Sequence[PairBatch]) -> Iterator[list[PairBatch]]:
        batches = ([batch] for batch in itertools.cycle(made))
        return on_device(batches, self.processes.device, channels_last=self.config.channels_last)


def _batch(size: int, height: int, width: int, seed: int) -> PairBatch:
    """Frames of smooth noise and a flow of a few pixels: what a step costs does not depend on what they show."""
    chance = torch.Generator().manual_seed(seed)
    coarse = torch.randn(2 * size, 5, max(height // 16, 2), max(width // 16, 2), generator=chance)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return PairBatch(smooth[:size, :3].contiguous(), smooth[size:, :3].contiguous(), 4 * smooth[:size, 3:].contiguous())


def bf16_limit(device: torch.device, size: int) -> float:
    """FLOP/s of the fastest of some products of two ``size`` x ``size`` matrices in bf16."""
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    out = torch.empty_like(a)
    best = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        products = 8 if device.type == "cuda" else 1
        for _ in range(products):
            torch.mm(a, b, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, (time.perf_counter() - start) / products)
    return 2 * size**3 / best


def measure(network: str, args: argparse.Namespace, limit: float) -> dict[str, Any]:
    """Both methods' rows, and STPL's time as a multiple of self-training's."""
    source = opened(network, None, "cityscapes-19", args.size)
    rows: dict[str, dict[str, Any]] = {method: measure_alone(method, args, source) for method in METHODS}
    steppers = {method: Stepper(method, args, source) for method in METHODS}
    for stepper in steppers.values():
        stepper.block(WARM_UP)
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(args.rounds):
        for method, stepper in steppers.items():
            times[method].append(stepper.block(args.steps))
    for method, row in rows.items():
        seconds = median(times[method])
        row["step_ms"] = 1e3 * seconds
        row["step_ms_range"] = [1e3 * min(times[method]), 1e3 * max(times[method])]
        row["enqueue_ms"] = 1e3 * median(steppers[method].enqueued() for _ in range(5))
        row["bf16_share"] = row["tflop"] * 1e12 / seconds / limit
    ratios = [a / b for a, b in zip(times["stpl"], times["self-training"], strict=True)]
    return {"methods": rows, "ratio": median(ratios), "ratio_range": [min(ratios), max(ratios)]}


def measure_alone(method: str, args: argparse.Namespace, source: Checkpoint) -> dict[str, Any]:
    """What is measured with one method on the device: operations, and peak memory where there is a GPU."""
    uncompiled = argparse.Namespace(**{**vars(args), "compile": False})  # compiled, they are hidden from the counter
    row: dict[str, Any] = {"tflop": 1e-12 * Stepper(method, uncompiled, source).operations()}
    gc.collect()
    device = Processes.start(args.device).device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        Stepper(method, args, source).block(WARM_UP)
        row["peak_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
        gc.collect()
    return row


def measure_flow(size: str, device: torch.device) -> dict[str, Any]:
    """Milliseconds of one pair's flow, host memory to host memory, and how far (px) the two flows lie apart."""
    height, width = (int(side) for side in size.split("x"))
    past = np.ascontiguousarray(_batch(1, height, width, 0).present[0, 0].mul(60).add(128).clamp(0, 255).byte().numpy())
    present = np.roll(past, (2, -5), axis=(0, 1))
    searches = {"cpu": compute_flow, "device": flow_on(str(device))}
    times: dict[str, list[float]] = {name: [] for name in searches}
    found = {}
    for turn in range(WARM_UP + 15):
        for name, search in searches.items():
            start = time.perf_counter()
            found[name] = search(present, past)
            if turn >= WARM_UP:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {
        **{f"{name}_ms": median(taken) for name, taken in times.items()},
        "on_gpu": searches["device"] is not compute_flow,
        "furthest_apart_px": float(np.abs(found["cpu"] - found["device"]).max()),
    }


def main() -> None:
    args = arguments()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    device = Processes.start(args.device).device
    limit = bf16_limit(device, args.limit_size)
    networks: dict[str, Any] = {}
    results: dict[str, Any] = {
        "settings": {name: value for name, value in vars(args).items() if name != "json"},
        "precision": precision_of(args.precision, device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch": torch.__version__,
        "bf16_limit_tflops": 1e-12 * limit,
        "networks": networks,
        "flow": guarded("flow", lambda: measure_flow(args.size, device)),
    }
    for network in args.networks:
        networks[network] = guarded(network, partial(measure, network, args, limit))
        say(network, networks[network])
        out = write_result("gpu_training_step", results, args.json)
    flow = results["flow"]
    if "failed" not in flow:
        print(f"flow of a pair: {flow['cpu_ms']:.2f} ms on the CPU, {flow['device_ms']:.2f} ms where training has it")
    print(out)
    if any("failed" in found for found in networks.values()):
        raise SystemExit(1)


def guarded(name: str, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured, or why it could not be: the other rows stay."""
    try:
        return measured()
    except Exception as why:
        logger.exception("%s", name)
        return {"failed": f"{type(why).__name__}: {why}"}


def say(network: str, found: dict[str, Any]) -> None:
    for method, row in found.get("methods", {}).items():
        numbers = (f"{name} {value:.3g}" for name, value in row.items() if isinstance(value, float))
        print(f"{network}, {method}: " + ", ".join(numbers))
    if "ratio" in found:
        print(f"{network}: ratio {found['ratio']:.2f}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="by name")
    parser.add_argument("--size", default="512x1024", help="of the networks' input, height x width")
    parser.add_argument("--batch-size", type=int, default=AdaptConfig().batch_size)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-first", action="store_true", help="the layout to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="of each block")
    parser.add_argument("--threads", type=int, default=None, help="of the computing on a CPU")
    parser.add_argument(
        "--limit-size", type=int, default=LIMIT_SIZE, help="of the matrices that the limit is measured by"
    )
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
