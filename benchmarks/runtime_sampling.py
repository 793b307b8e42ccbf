"""Sample + argmax: low-resolution logits to full-size labels, with and without flow, against PyTorch's own calls.

    python benchmarks/runtime_sampling.py

The runtime's time is the stage "sample" of push(), as every result says it: in schedule `every` the plain kernel, on
propagated frames the displaced one, each straight after what comes before it in a stream (the network, the flow), so
with cold caches; the same with the confidence beside the labels. The logits are those of the compact network with 19
classes at 1024x512: 256x128. Where all four logits around a pixel have the same largest class the displaced kernel
takes that; how many pixels are not decided so is in the table, and so is the worst case: logits of noise, where hardly
any is, from Python, the packing of the logits included, which a stream does once a key frame.

PyTorch gets the same logits and the same flow: interpolate and argmax, or grid_sample and argmax (for the confidence:
softmax and max), the sampling grid made before and not timed. Both must give the same labels on nearly all pixels. All
in turns within one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


def enlarged(logits: Floats) -> torch.Tensor:
    return F.interpolate(torch.from_numpy(logits)[None], (HEIGHT, WIDTH), mode="bilinear", align_corners=False)


def displaced(logits: Floats, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(
        torch.from_numpy(logits)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def torch_labels(logits: Floats, grid: torch.Tensor | None, confidence: bool) -> Labels:
    """The labels; with the confidence it is computed too, as a user would, and thrown away."""
    values = enlarged(logits) if grid is None else displaced(logits, grid)
    if not confidence:
        return values.argmax(1)[0].to(torch.uint8).numpy()
    probability, label = values.softmax(1).max(1)
    _ = (255 * probability[0]).round().to(torch.uint8)
    return label[0].to(torch.uint8).numpy()


def undecided(logits: Floats) -> float:
    """Share of the cells between four logits whose largest class is not the same at all four."""
    best = logits.argmax(0)
    corners = (best[:-1, 1:], best[1:, :-1], best[1:, 1:])
    return 1 - float(np.logical_and.reduce([best[:-1, :-1] == corner for corner in corners]).mean())


def sampling_grid(flow: Floats) -> torch.Tensor:
    """Positions of the displaced reads as grid_sample takes them, edges of the logits at -1 and 1."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32) + np.float32(0.5)
    grid = np.stack(((x + flow[..., 0]) * 2 / WIDTH - 1, (y + flow[..., 1]) * 2 / HEIGHT - 1), axis=2)
    return torch.from_numpy(grid.astype(np.float32))[None]


def sample_ms(push: Callable[[], stpl_rt.Result]) -> float:
    """What the stage took within the push."""
    return push().timing["sample_ms"]


def labels_of(push: Callable[[], stpl_rt.Result]) -> Labels:
    return push().labels


class Streams:
    """The runtime's two cases: every frame a key frame, and every second frame propagated along a given flow."""

    def __init__(self, threads: int, flow: Floats, confidence: bool) -> None:
        bundle = random_bundle("compact", (WIDTH, HEIGHT))
        (self.frame,) = street((WIDTH, HEIGHT), 1)
        self.flow = flow
        # A given flow need not fit the frame that is shown again and again: that is no cut.
        settings: dict[str, Any] = {"threads": threads, "scene_cuts": False, "confidence": confidence}
        self.every = stpl_rt.Segmenter(bundle, schedule="every", **settings)
        self.second = stpl_rt.Segmenter(bundle, schedule="fixed:2", **settings)

    def plain(self) -> stpl_rt.Result:
        return self.every.push(self.frame)

    def displaced(self) -> stpl_rt.Result:
        """Of a key frame and the frame after it the latter."""
        self.second.push(self.frame, self.flow)
        result = self.second.push(self.frame, self.flow)
        if result.is_key:
            raise RuntimeError("expected a propagated frame, found a key frame")
        return result


@dataclass(frozen=True)
class Case:
    """One line: the same labels by the runtime, whose milliseconds ``ours`` says, and by PyTorch."""

    name: str
    ours: Callable[[], float]
    our_labels: Callable[[], Labels]
    torchs: Callable[[], Labels]
    undecided: float | None = None

    def agreement(self) -> float:
        """Share of the pixels with PyTorch's label. Raises where it is another computation."""
        share = float((self.our_labels() == self.torchs()).mean())
        if share < LEAST_AGREEMENT:
            raise RuntimeError(f"{self.name}: the labels are PyTorch's on {100 * share:.2f} % of the pixels alone")
        return share


def cases(threads: int) -> Iterator[Case]:
    flow = driving_flow()
    grid = sampling_grid(flow)
    for confidence in (False, True):
        streams = Streams(threads, flow, confidence)
        streams.plain()
        logits = streams.every.logits()
        end = ", confidence" if confidence else ""
        yield Case(
            f"without flow{end}",
            partial(sample_ms, streams.plain),
            partial(labels_of, streams.plain),
            partial(torch_labels, logits, None, confidence),
        )
        yield Case(
            f"with flow{end}",
            partial(sample_ms, streams.displaced),
            partial(labels_of, streams.displaced),
            partial(torch_labels, logits, grid, confidence),
            undecided(logits),
        )
    noise = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    call = partial(stpl_rt.sample_argmax, noise, (HEIGHT, WIDTH), flow=flow, threads=threads)
    yield Case(
        "with flow, noise",
        partial(milliseconds, call),
        call,
        partial(torch_labels, noise, grid, False),
        undecided(noise),
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for threads in args.threads:
        for case in cases(threads):
            torch.set_num_threads(threads)
            agreement = case.agreement()
            times = measured_in_turns(
                {"ours": case.ours, "torch": partial(milliseconds, case.torchs)}, args.rounds, args.seconds
            )
            row = {"case": case.name, "threads": threads, "undecided": case.undecided, "agreement": agreement}
            row |= {"ms": median(times["ours"]), "pytorch_ms": median(times["torch"])}
            rows.append({**row, **ratio(times["torch"], times["ours"])})
    logits = size_name((WIDTH // 4, HEIGHT // 4))
    return {"classes": CLASSES, "logits": logits, "labels": f"{WIDTH}x{HEIGHT}", "rows": rows}


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
