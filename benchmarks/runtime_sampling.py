"""Sample + argmax: low-resolution logits to full-size labels, with and without flow, against PyTorch's two calls.

    python benchmarks/runtime_sampling.py

The runtime's time is the stage "sample" of push(), as every result says it: in schedule `every` the plain kernel, on
propagated frames the displaced one, each straight after what comes before it in a stream (the network, the flow), so
with cold caches. The logits are those of the compact network with 19 classes at 1024x512: 256x128. PyTorch gets the
same logits and the same flow: interpolate and argmax, or grid_sample and argmax, the sampling grid made before and not
timed. Both must give the same labels on nearly all pixels. All in turns within one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from record import write_result
from runtime_networks import CLASSES, random_bundle, size_name, street
from turns import measured_in_turns, milliseconds, ratio

import stpl_rt

WIDTH, HEIGHT = 1024, 512
LEAST_AGREEMENT = 0.999

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]


def driving_flow() -> Floats:
    """What a car's camera sees: the street comes nearer around a point, 16 pixels at the border, and rolls a little."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = (x - 0.5 * WIDTH) / WIDTH, (y - 0.4 * HEIGHT) / WIDTH
    return np.stack((-32 * x + 4 * y, -32 * y - 4 * x), axis=2).astype(np.float32)


def plain_torch(logits: Floats) -> Labels:
    large = F.interpolate(torch.from_numpy(logits)[None], (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    return large.argmax(1)[0].to(torch.uint8).numpy()


def sampling_grid(flow: Floats) -> torch.Tensor:
    """Positions of the displaced reads as grid_sample takes them, edges of the logits at -1 and 1."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) + np.float32(0.5)
    grid = np.stack(((x + flow[..., 0]) * 2 / WIDTH - 1, (y + flow[..., 1]) * 2 / HEIGHT - 1), axis=2)
    return torch.from_numpy(grid.astype(np.float32))[None]


def displaced_torch(logits: Floats, grid: torch.Tensor) -> Labels:
    large = F.grid_sample(
        torch.from_numpy(logits)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return large.argmax(1)[0].to(torch.uint8).numpy()


def with_torch_threads(threads: int, call: Callable[[], Any]) -> float:
    torch.set_num_threads(threads)
    return milliseconds(call)


def sample_ms(push: Callable[[], stpl_rt.Result]) -> float:
    """What the stage took within the push."""
    return push().timing["sample_ms"]


class Streams:
    """The runtime's two cases: every frame a key frame, and every second frame propagated along a given flow."""

    def __init__(self, threads: int, flow: Floats) -> None:
        bundle = random_bundle("compact", (WIDTH, HEIGHT))
        (self.frame,) = street((WIDTH, HEIGHT), 1)
        self.flow = flow
        # A given flow need not fit the frame that is shown again and again: that is no cut.
        self.every = stpl_rt.Segmenter(bundle, schedule="every", threads=threads, scene_cuts=False)
        self.second = stpl_rt.Segmenter(bundle, schedule="fixed:2", threads=threads, scene_cuts=False)

    def plain(self) -> stpl_rt.Result:
        return self.every.push(self.frame)

    def displaced(self) -> stpl_rt.Result:
        """Of a key frame and the frame after it the latter."""
        self.second.push(self.frame, self.flow)
        result = self.second.push(self.frame, self.flow)
        if result.is_key:
            raise RuntimeError("expected a propagated frame, found a key frame")
        return result


def agreement(streams: Streams, logits: Floats, grid: torch.Tensor) -> dict[str, float]:
    """Share of the pixels with PyTorch's label; raises where it is another computation."""
    streams.second.reset()
    shares = {
        "without flow": float((streams.plain().labels == plain_torch(logits)).mean()),
        "with flow": float((streams.displaced().labels == displaced_torch(logits, grid)).mean()),
    }
    for case, share in shares.items():
        if share < LEAST_AGREEMENT:
            raise RuntimeError(f"{case}: the labels are PyTorch's on {100 * share:.2f} % of the pixels alone")
    return shares


def measure(args: argparse.Namespace) -> dict[str, Any]:
    streams = {threads: Streams(threads, driving_flow()) for threads in args.threads}
    first = streams[args.threads[0]]
    first.plain()
    logits, grid = first.every.logits(), sampling_grid(first.flow)
    shares = agreement(first, logits, grid)
    calls: dict[str, dict[str, Callable[[], float]]] = {"without flow": {}, "with flow": {}}
    for threads, stream in streams.items():
        calls["without flow"][f"stpl_rt {threads}"] = partial(sample_ms, stream.plain)
        calls["with flow"][f"stpl_rt {threads}"] = partial(sample_ms, stream.displaced)
        plain, displaced = partial(plain_torch, logits), partial(displaced_torch, logits, grid)
        calls["without flow"][f"PyTorch {threads}"] = partial(with_torch_threads, threads, plain)
        calls["with flow"][f"PyTorch {threads}"] = partial(with_torch_threads, threads, displaced)
    rows = []
    for case, measures in calls.items():
        times = measured_in_turns(measures, args.rounds, args.seconds)
        for threads in args.threads:
            ours, torchs = times[f"stpl_rt {threads}"], times[f"PyTorch {threads}"]
            row = {"case": case, "threads": threads, "ms": median(ours), "pytorch_ms": median(torchs)}
            rows.append({**row, **ratio(torchs, ours), "agreement": shares[case]})
    height, width = logits.shape[1:]
    return {"classes": CLASSES, "logits": size_name((width, height)), "labels": f"{WIDTH}x{HEIGHT}", "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one turn of one case")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    found = measure(args)
    for row in found["rows"]:
        print(
            f"{row['case']}, threads {row['threads']}: {row['ms']:.2f} ms, PyTorch {row['pytorch_ms']:.1f} ms, "
            f"ratio {row['ratio']:.1f}, same labels {100 * row['agreement']:.3f} %"
        )
    print(write_result("runtime_sampling", found, args.json))


if __name__ == "__main__":
    main()
