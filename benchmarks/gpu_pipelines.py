"""push() on a GPU against the same pipeline as users write it there: PyTorch, torch.compile, ONNX Runtime with CUDA.

    python benchmarks/gpu_pipelines.py                                             two networks on a GPU, fp16
    python benchmarks/gpu_pipelines.py --device cpu --precision f32 --models compact --sizes 96x64 --rounds 2 --frames 2

All do what push() does: an RGB frame is resized (bilinear) and normalised, the network runs, its logits are upsampled
to the frame's size (bilinear), labels are uint8. A frame begins and ends in the GPU's memory, or in the host's. The
same network with random weights, the same precision and frames, in turns within one process. A turn is some frames
that follow each other and one wait for the GPU; each pipeline must give push()'s labels on nearly all pixels before it
is timed. What cannot run here is left out with its reason: push() without TensorRT, ONNX Runtime without CUDA.

Bundles that lie under runs/bench/networks are not exported again; `--export-only` makes them where OpenVINO is, which
an export is checked with.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from record import write_result
from runtime_networks import random_bundle, random_checkpoint, read_size, size_name, street
from torch import Tensor
from turns import measured_in_turns, ratio

import stpl_rt
from stpl.models.protocol import aligns_corners
from stpl.train.checkpoint import Checkpoint

MODELS = ("segformer-b1", "pidnet-s")
SIZES = ((1024, 512), (2048, 1024))
FRAMES = 8
"""Different ones, shown in turn."""
LEAST_AGREEMENT = 0.9
"""Share of the pixels that must get push()'s label: networks with random weights have many pixels between two classes,
which fp16 decides either way."""
TYPES = {"f32": torch.float32, "f16": torch.float16}

Image = NDArray[np.uint8]
Network = Callable[[Tensor], Tensor]
"""Prepared image (1, 3, h, w) to logits (1, C, h', w')."""
Resident = Callable[[Tensor], Any]
"""Frame (H, W, 3) uint8 on the device to labels (H, W) there, which may still be on their way."""
OverHost = Callable[[Image], Image]


class MissingError(Exception):
    """A pipeline that cannot run here; the text says why."""


class Bench:
    """One network at one size, and what its frames are."""

    def __init__(self, model: str, size: tuple[int, int], args: argparse.Namespace) -> None:
        self.checkpoint = random_checkpoint(model, size)
        self.bundle = random_bundle(model, size, precision=args.precision)
        self.device = torch.device(args.device)
        self.type = TYPES[args.precision]
        self.precision = args.precision
        self.on_host = street(size, FRAMES)
        self.on_device = [torch.from_numpy(frame).to(self.device) for frame in self.on_host]

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def segmenter(self, schedule: str, *, stays: bool) -> stpl_rt.Segmenter:
        """Ours; ``stays``: labels are left on the GPU."""
        gpu = self.device.type == "cuda"
        if gpu and "tensorrt" not in stpl_rt.engines():
            raise MissingError("stpl_rt was built without TensorRT")
        return stpl_rt.Segmenter(
            self.bundle,
            device=str(self.device),
            schedule=schedule,
            precision=self.precision,
            scene_cuts=False,
            device_labels=stays and gpu,
            build_engines=gpu,
        )


def push(bench: Bench, schedule: str) -> Resident:
    segmenter = bench.segmenter(schedule, stays=True)
    if bench.device.type == "cuda":
        return lambda frame: segmenter.push(frame).device_labels
    return lambda frame: segmenter.push(frame.numpy()).labels


def around(network: Network, checkpoint: Checkpoint, bench: Bench) -> Resident:
    """What PyTorch does before and after the network."""
    corners = aligns_corners(checkpoint.build())
    size = (checkpoint.input.height, checkpoint.input.width)
    mean, std = (
        torch.tensor(values, dtype=bench.type, device=bench.device).view(1, 3, 1, 1)
        for values in (checkpoint.input.mean, checkpoint.input.std)
    )

    def segment(frame: Tensor) -> Tensor:
        image = frame.permute(2, 0, 1)[None].to(bench.type)
        logits = network((F.interpolate(image, size, mode="bilinear", align_corners=False) - mean) / std)
        upsampled = F.interpolate(logits, frame.shape[:2], mode="bilinear", align_corners=corners)
        return upsampled.argmax(1)[0].to(torch.uint8)

    return segment


def pytorch(bench: Bench) -> Resident:
    model = bench.checkpoint.build().to(bench.device, bench.type).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return around(model, bench.checkpoint, bench)


def compiled(bench: Bench) -> Resident:
    """All of it, into CUDA graphs where there is a GPU."""
    segment: Resident = torch.compile(pytorch(bench), mode="reduce-overhead", dynamic=False)
    return segment


def onnx_runtime(bench: Bench) -> Resident:
    """The bundle's own network between PyTorch's preparation and its argmax; tensors are bound, nothing is copied."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        raise MissingError("onnxruntime is not installed") from None
    gpu = bench.device.type == "cuda"
    provider = "CUDAExecutionProvider" if gpu else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise MissingError(f"onnxruntime {onnxruntime.__version__} has no {provider}")
    options: dict[str, str] = {"user_compute_stream": str(torch.cuda.current_stream().cuda_stream)} if gpu else {}
    session = onnxruntime.InferenceSession(str(bench.bundle.segment.file), providers=[(provider, options)])
    given, logits = session.get_inputs()[0], session.get_outputs()[0]
    types = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}
    image = torch.empty(given.shape, dtype=types[given.type], device=bench.device)
    out = torch.empty(logits.shape, dtype=types[logits.type], device=bench.device)
    binding = session.io_binding()
    for bind, name, tensor in ((binding.bind_input, given.name, image), (binding.bind_output, logits.name, out)):
        element = np.float16 if tensor.dtype is torch.float16 else np.float32
        bind(name, bench.device.type, bench.device.index or 0, element, list(tensor.shape), tensor.data_ptr())

    def network(prepared: Tensor) -> Tensor:
        image.copy_(prepared)
        session.run_with_iobinding(binding)
        return out

    return around(network, bench.checkpoint, bench)


USERS: dict[str, Callable[[Bench], Resident]] = {
    "PyTorch": pytorch,
    "torch.compile": compiled,
    "ONNX Runtime": onnx_runtime,
}


def over_host(segment: Resident, bench: Bench) -> OverHost:
    """The same for a frame of the host: pinned, copied, and its labels copied back."""

    def run(frame: Image) -> Image:
        given = torch.from_numpy(frame)
        given = given.pin_memory() if bench.device.type == "cuda" else given
        labels: Image = segment(given.to(bench.device, non_blocking=True)).cpu().numpy()
        return labels

    return run


def labels_of(found: Any) -> Image:
    """On the host, whoever made them."""
    if isinstance(found, np.ndarray):
        return found
    tensor = found if isinstance(found, Tensor) else torch.from_dlpack(found)
    labels: Image = tensor.cpu().numpy()
    return labels


def resident_turn(segment: Resident, bench: Bench, count: int) -> Callable[[], float]:
    """Milliseconds of a frame, of ``count`` that follow each other and are waited for at the end."""
    frames = itertools.cycle(bench.on_device)

    def turn() -> float:
        start = time.perf_counter()
        for frame in itertools.islice(frames, count):
            segment(frame)
        bench.wait()
        return 1e3 * (time.perf_counter() - start) / count

    return turn


def host_turn(results: Callable[[Sequence[Image]], Iterator[Any]], bench: Bench, count: int) -> Callable[[], float]:
    shown = list(itertools.islice(itertools.cycle(bench.on_host), count))

    def turn() -> float:
        start = time.perf_counter()
        for _ in results(shown):
            pass
        return 1e3 * (time.perf_counter() - start) / count

    return turn


def enqueue_us(segment: Resident, bench: Bench) -> float:
    """Microseconds of the host for one frame, the GPU having nothing to do."""
    taken = []
    for frame in itertools.islice(itertools.cycle(bench.on_device), 5 * FRAMES):
        bench.wait()
        start = time.perf_counter()
        segment(frame)
        taken.append(1e6 * (time.perf_counter() - start))
    return median(taken)


def pipelines(bench: Bench) -> tuple[dict[str, Resident], dict[str, str]]:
    """Those that run here, push() first, and why the others do not."""
    found: dict[str, Resident] = {}
    missing = {}
    for name, make in {"push": lambda bench: push(bench, "every"), **USERS}.items():
        try:
            found[name] = make(bench)
        except MissingError as why:
            missing[name] = str(why)
    return found, missing


def agreement(candidates: dict[str, Resident], bench: Bench) -> dict[str, float]:
    """Share of the first pipeline's labels that each gives; raises where one does something else."""
    expected: Image | None = None
    shares = {}
    for name, segment in candidates.items():
        labels = labels_of(segment(bench.on_device[0]))
        expected = labels if expected is None else expected
        shares[name] = float((labels == expected).mean())
        if shares[name] < LEAST_AGREEMENT:
            raise RuntimeError(f"{name} gives the expected label on {100 * shares[name]:.2f} % of the pixels alone")
    return shares


@torch.no_grad()
def measure(bench: Bench, args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a frame by pipeline, and how many times push()'s that is; what else push() is judged by."""
    candidates, missing = pipelines(bench)
    shares = agreement(candidates, bench)
    turns = {name: resident_turn(segment, bench, args.frames) for name, segment in candidates.items()}
    hosts = {
        name: host_turn(partial(map, over_host(segment, bench)), bench, args.frames)
        for name, segment in candidates.items()
        if name != "push"
    }
    row: dict[str, Any] = {"missing": missing}
    if "push" in candidates:
        turns["fixed:5"] = resident_turn(push(bench, "fixed:5"), bench, args.frames)
        hosts = {"push": host_turn(bench.segmenter("every", stays=False).stream, bench, args.frames), **hosts}
        row["enqueue_us"] = enqueue_us(candidates["push"], bench)
    times = measured_in_turns(turns, args.rounds, args.seconds)
    row["resident"] = table(times, shares)
    row["host"] = table(measured_in_turns(hosts, args.rounds, args.seconds), shares)
    return row


def table(times: dict[str, list[float]], shares: dict[str, float]) -> dict[str, dict[str, float]]:
    """Each one's time, as a multiple of push()'s, too, where that ran."""
    return {
        name: {
            "ms": median(rounds),
            **({"agreement": shares[name]} if name in shares else {}),
            **(ratio(rounds, times["push"]) if "push" in times else {}),
        }
        for name, rounds in times.items()
    }


def main() -> None:
    args = arguments()
    rows = {}
    for model, size in itertools.product(args.models, args.sizes):
        name = f"{model} {size_name(size)}"
        if args.export_only:
            print(random_bundle(model, size, precision=args.precision).segment.file.parent)
            continue
        # Not the default stream: the others' work is ordered there by each library in its own way.
        gpu = torch.device(args.device).type == "cuda"
        with torch.cuda.stream(torch.cuda.Stream(args.device)) if gpu else nullcontext():
            rows[name] = row = measure(Bench(model, size, args), args)
        for where in ("resident", "host"):
            print(f"{name}, {where}: " + ", ".join(f"{who} {found['ms']:.2f} ms" for who, found in row[where].items()))
        for who, why in row["missing"].items():
            print(f"{name}: without {who}: {why}")
    if rows:
        settings = {"device": args.device, "precision": args.precision, "frames": args.frames}
        gpu_name = torch.cuda.get_device_name(args.device) if torch.device(args.device).type == "cuda" else None
        results = {"settings": settings, "torch": torch.__version__, "gpu": gpu_name, "rows": rows}
        print(write_result("gpu_pipelines", results, args.json))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--sizes", type=read_size, nargs="+", default=SIZES, metavar="WxH", help="of input and frame")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--precision", choices=TYPES, default="f16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=40, help="of a turn")
    parser.add_argument("--seconds", type=float, default=0.2, help="of one pipeline's turns in one round")
    parser.add_argument("--export-only", action="store_true", help="make the bundles and measure nothing")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
