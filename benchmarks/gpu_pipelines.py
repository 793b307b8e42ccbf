"""push() on a GPU against the same pipeline as users write it there: PyTorch, torch.compile, ONNX Runtime with CUDA.

    python benchmarks/gpu_pipelines.py                                             two networks on a GPU, fp16
    python benchmarks/gpu_pipelines.py --device cpu --precision f32 --models compact --sizes 96x64 --rounds 2 --frames 2

All do what push() does: an RGB frame is resized (bilinear) and normalised, the network runs, its logits are upsampled
to the frame's size (bilinear), labels are uint8. A frame begins and ends in the GPU's memory, or in the host's. The
same network with random weights, the same precision and frames, in turns within one process. A turn is some frames
that follow each other and one wait for the GPU; p50 and p99 are of single frames, each waited for (of the host's
push(), of the time between two results). Beside its time stands on how many pixels a pipeline gives push()'s label; one
that does something else is not timed. What cannot run here is left out with its reason: push() without TensorRT, ONNX
Runtime without CUDA. The file is written after each row, the largest frames first: what stops it later costs no row.

`--export-only` leaves networks and bundles in the folder of `--bundles`, under names that depend on no library's
version: made where OpenVINO is, which an export is checked with, they are carried to where it is not. The checkpoint
beside a bundle, the larger part of what is carried, may be left behind: users' pipelines then have weights that cost as
much, drawn here. But these may be others than the bundle's, for what a seed draws depends on PyTorch's version, and how
far labels agree with push() means nothing then: where TensorRT runs push(), or ONNX Runtime the bundle, the checkpoint
is to be carried, too. The network alone, without a frame, is timed by `stpl_rt_cuda_pipeline BUNDLE`.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import shutil
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
from runtime_networks import (
    carried_checkpoint,
    carried_name,
    is_carried,
    random_bundle,
    random_checkpoint,
    read_size,
    size_name,
    street,
)
from torch import Tensor
from turns import measured_in_turns, ratio

import stpl_rt
from stpl.models.protocol import aligns_corners
from stpl.train.checkpoint import FILE_NAME, Checkpoint, save_checkpoint

MODELS = ("segformer-b1", "pidnet-s")
SIZES = ((2048, 1024), (1024, 512))
BUNDLES = Path(__file__).resolve().parent.parent / "runs" / "bench" / "gpu_bundles"
SINGLE_SECONDS = 2.0
"""For the frames that are timed one by one; at most ``SINGLE_FRAMES``."""
SINGLE_FRAMES = 300
FRAMES = 8
"""Different ones, shown in turn."""
LEAST_AGREEMENT = 0.9
"""Share of the pixels that must get push()'s label: networks with random weights have many pixels between two classes,
which fp16 decides either way."""
TYPES = {"f32": torch.float32, "f16": torch.float16}

logger = logging.getLogger(__name__)

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
        self.checkpoint, self.bundle = prepared(model, size, args)
        self.device = torch.device(args.device)
        self.type = TYPES[args.precision]
        self.precision = args.precision
        self.on_host = street(size, FRAMES)
        self.on_device = [torch.from_numpy(frame).to(self.device) for frame in self.on_host]

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def segmenter(self, schedule: str, *, stays: bool, scene_cuts: bool = False) -> stpl_rt.Segmenter:
        """Ours; ``stays``: labels are left on the GPU. Looking for scene cuts makes propagated frames wait half-way."""
        gpu = self.device.type == "cuda"
        if gpu and "tensorrt" not in stpl_rt.engines():
            raise MissingError("stpl_rt was built without TensorRT")
        return stpl_rt.Segmenter(
            self.bundle,
            device=str(self.device),
            schedule=schedule,
            precision=self.precision,
            scene_cuts=scene_cuts,
            device_labels=stays and gpu,
            build_engines=gpu,
        )


def prepared(model: str, size: tuple[int, int], args: argparse.Namespace) -> tuple[Checkpoint, stpl_rt.Bundle]:
    """The carried network and bundle where they lie in the folder of ``--bundles``, else made here."""
    folder = args.bundles / carried_name(model, size, args.precision)
    if is_carried(folder):
        return carried_checkpoint(folder), stpl_rt.Bundle.open(folder / "bundle")
    return random_checkpoint(model, size), random_bundle(model, size, precision=args.precision)


def export(model: str, size: tuple[int, int], args: argparse.Namespace) -> Path:
    """Leaves them there, whole or not at all."""
    folder: Path = args.bundles / carried_name(model, size, args.precision)
    if (folder / FILE_NAME).is_file():
        return folder
    exported = random_bundle(model, size, precision=args.precision).segment.file.parent
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(exported, folder / "bundle")
    save_checkpoint(random_checkpoint(model, size), folder / FILE_NAME)
    return folder


def push(bench: Bench, schedule: str, *, scene_cuts: bool = False) -> Resident:
    segmenter = bench.segmenter(schedule, stays=True, scene_cuts=scene_cuts)
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


OURS: dict[str, Callable[[Bench], Resident]] = {
    "push": partial(push, schedule="every"),
    "fixed:5": partial(push, schedule="fixed:5"),
    "fixed:5, scene cuts": partial(push, schedule="fixed:5", scene_cuts=True),
}
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


def resident_singles(segment: Resident, bench: Bench) -> Iterator[float]:
    """Milliseconds of frames that are waited for one by one, without end."""
    for frame in itertools.cycle(bench.on_device):
        bench.wait()
        start = time.perf_counter()
        segment(frame)
        bench.wait()
        yield 1e3 * (time.perf_counter() - start)


def host_singles(results: Callable[[Iterator[Image]], Iterator[Any]], bench: Bench) -> Iterator[float]:
    """Milliseconds from one frame's labels to the next one's, without end."""
    start = time.perf_counter()
    for _ in results(itertools.cycle(bench.on_host)):
        now = time.perf_counter()
        yield 1e3 * (now - start)
        start = now


def spread(singles: Iterator[float]) -> dict[str, float]:
    """Of single frames, but for the first few."""
    taken: list[float] = []
    for _ in itertools.islice(singles, FRAMES):
        pass
    until = time.perf_counter() + SINGLE_SECONDS
    while len(taken) < FRAMES or (len(taken) < SINGLE_FRAMES and time.perf_counter() < until):
        taken.append(next(singles))
    p50, p99 = np.percentile(taken, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99), "singles": len(taken)}


def enqueue_us(segment: Resident, bench: Bench) -> dict[str, float]:
    """Microseconds of the host for one frame, the GPU having nothing to do."""
    taken = []
    for frame in itertools.islice(itertools.cycle(bench.on_device), 10 * FRAMES):
        bench.wait()
        start = time.perf_counter()
        segment(frame)
        taken.append(1e6 * (time.perf_counter() - start))
    p50, p99 = np.percentile(taken, (50, 99))
    return {"p50": float(p50), "p99": float(p99)}


def pipelines(bench: Bench) -> tuple[dict[str, Resident], dict[str, str]]:
    """Those that run here, push() first, and why the others do not."""
    found: dict[str, Resident] = {}
    missing = {}
    for name, make in {**OURS, **USERS}.items():
        try:
            found[name] = make(bench)
            bench.wait()
        except MissingError as why:
            missing[name] = str(why)
        except Exception as why:  # an engine that is refused, a compiler that fails: the others are compared
            missing[name] = f"{type(why).__name__}: {why}"
    return found, missing


def agreement(candidates: dict[str, Resident], bench: Bench, missing: dict[str, str]) -> dict[str, float]:
    """Share of the first pipeline's labels that each gives. Those that fail or do something else go to ``missing``."""
    expected: Image | None = None
    shares = {}
    for name, segment in list(candidates.items()):
        try:
            labels = labels_of(segment(bench.on_device[0]))
        except Exception as why:
            missing[name] = f"{type(why).__name__}: {why}"
            del candidates[name]
            continue
        expected = labels if expected is None else expected
        shares[name] = float((labels == expected).mean())
        if shares[name] < LEAST_AGREEMENT:
            missing[name] = f"gives the expected label on {100 * shares[name]:.2f} % of the pixels alone"
            del candidates[name]
    return shares


@torch.no_grad()
def measure(bench: Bench, args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of a frame by pipeline, and how many times push()'s that is; what else push() is judged by."""
    candidates, missing = pipelines(bench)
    shares = agreement(candidates, bench, missing)
    row: dict[str, Any] = {"missing": missing}
    turns = {name: resident_turn(segment, bench, args.frames) for name, segment in candidates.items()}
    runs = {name: partial(map, over_host(segment, bench)) for name, segment in candidates.items() if name in USERS}
    if "push" in candidates:
        runs = {"push": bench.segmenter("every", stays=False).stream, **runs}
        row["enqueue_us"] = enqueue_us(candidates["push"], bench)
    row["resident"] = table(measured_in_turns(turns, args.rounds, args.seconds), shares)
    for name, segment in candidates.items():
        row["resident"][name] |= spread(resident_singles(segment, bench))
    hosts = {name: host_turn(results, bench, args.frames) for name, results in runs.items()}
    row["host"] = table(measured_in_turns(hosts, args.rounds, args.seconds), shares)
    for name, results in runs.items():
        row["host"][name] |= spread(host_singles(results, bench))
    return row


def table(times: dict[str, list[float]], shares: dict[str, float]) -> dict[str, dict[str, Any]]:
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
    if args.export_only:
        for model, size in itertools.product(args.models, args.sizes):
            print(export(model, size, args))
        return
    gpu = torch.device(args.device).type == "cuda"
    settings = {"device": args.device, "precision": args.precision, "frames": args.frames}
    gpu_name = torch.cuda.get_device_name(args.device) if gpu else None
    rows: dict[str, Any] = {}
    results = {"settings": settings, "torch": torch.__version__, "gpu": gpu_name, "rows": rows}
    for size, model in itertools.product(args.sizes, args.models):
        if args.carried and not is_carried(args.bundles / carried_name(model, size, args.precision)):
            continue
        name = f"{model} {size_name(size)}"
        try:
            # Not the default stream: the others' work is ordered there by each library in its own way.
            with torch.cuda.stream(torch.cuda.Stream(args.device)) if gpu else nullcontext():
                rows[name] = measure(Bench(model, size, args), args)
        except Exception as why:  # the other rows stay
            logger.exception("%s", name)
            rows[name] = {"failed": f"{type(why).__name__}: {why}"}
        say(name, rows[name])
        out = write_result("gpu_pipelines", results, args.json)
    if not rows:
        raise SystemExit(f"expected a bundle of these models and sizes in {args.bundles}, found none")
    print(out)
    if all("failed" in row for row in rows.values()):
        raise SystemExit(1)


def say(name: str, row: dict[str, Any]) -> None:
    for where in ("resident", "host"):
        if where in row:
            print(f"{name}, {where}: " + ", ".join(f"{who} {found['ms']:.2f} ms" for who, found in row[where].items()))
    for who, why in row.get("missing", {}).items():
        print(f"{name}: without {who}: {why}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--sizes", type=read_size, nargs="+", default=SIZES, metavar="WxH", help="of input and frame")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--precision", choices=TYPES, default="f16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=40, help="of a turn")
    parser.add_argument("--seconds", type=float, default=0.2, help="of one pipeline's turns in one round")
    parser.add_argument("--bundles", type=Path, default=BUNDLES, help="folder of carried networks (%(default)s)")
    parser.add_argument("--carried", action="store_true", help="leave out what is not there")
    parser.add_argument("--export-only", action="store_true", help="make those and measure nothing")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
