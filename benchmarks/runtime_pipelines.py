"""push() against the same pipeline as users write it: PyTorch, ONNX Runtime with NumPy and OpenCV, OpenVINO with them.

    python benchmarks/runtime_pipelines.py
    python benchmarks/runtime_pipelines.py --models compact --sizes 512x256 --threads 1 --rounds 2 --json pipelines.json

The same camera frame, network, threads and precision (f32), in turns within one process; what the pipelines do is in
pipelines_of_users.py. Each must give push()'s labels on nearly all pixels before it is timed. How many times faster
push() is: the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
from pipelines_of_users import (
    Image,
    Pipeline,
    Preparation,
    RunningMaximum,
    argmax_of_users,
    onnx_runtime,
    openvino_graph,
    openvino_network,
    pytorch,
    with_numpy,
)
from record import write_result
from runtime_networks import ARCHITECTURES, SIZES, random_bundle, random_checkpoint, read_size, size_name, street
from turns import medians_in_turns, ratio

import stpl_rt

LEAST_AGREEMENT = 0.98
"""Share of the pixels that must get the expected label. Frames are rounded to uint8 after resizing by some, not by
others, and networks with random weights have many pixels between two classes."""


def pipelines(
    model: str, size: tuple[int, int], frame: Image, segmenter: stpl_rt.Segmenter, threads: int
) -> dict[str, Pipeline]:
    """All of them, by the names of the table."""
    bundle = segmenter.bundle
    onnx, openvino = Preparation(bundle.input), Preparation(bundle.input)
    run_onnx = onnx_runtime(bundle, onnx.input, threads)
    run_openvino = openvino_network(bundle, openvino.input, threads)
    return {
        "push": lambda image: segmenter.push(image).labels,
        "PyTorch": pytorch(random_checkpoint(model, size)),
        "ONNX Runtime": with_numpy(onnx, run_onnx, argmax_of_users),
        "ONNX Runtime, tuned": with_numpy(onnx, run_onnx, RunningMaximum()),
        "OpenVINO": with_numpy(openvino, run_openvino, argmax_of_users),
        "OpenVINO, tuned": with_numpy(openvino, run_openvino, RunningMaximum()),
        "OpenVINO, all in its graph": openvino_graph(bundle, frame.shape[0], frame.shape[1], threads),
    }


def agreement(candidates: dict[str, Pipeline], segmenter: stpl_rt.Segmenter, frame: Image) -> dict[str, float]:
    """Share of push()'s labels that each gives; raises where one does something else.

    What OpenCV upsamples is held against the same logits upsampled in OpenCV's way, edges on edges.
    """
    expected = candidates["push"](frame)
    input_size = (segmenter.bundle.input.height, segmenter.bundle.input.width)
    edges = stpl_rt.sample_argmax(segmenter.logits(), (frame.shape[0], frame.shape[1]), input_size=input_size)
    shares = {}
    for name, run in candidates.items():
        labels = run(frame)
        shares[name] = float((labels == expected).mean())
        if max(shares[name], float((labels == edges).mean())) < LEAST_AGREEMENT:
            raise RuntimeError(f"{name} gives push()'s label on {100 * shares[name]:.2f} % of the pixels alone")
    del shares["push"]
    return shares


def measure(model: str, size: tuple[int, int], args: argparse.Namespace, threads: int) -> dict[str, Any]:
    """One network at one size with one number of threads."""
    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)
    (frame,) = street(args.frame, 1)
    segmenter = stpl_rt.Segmenter(random_bundle(model, size), schedule="every", threads=threads)
    candidates = pipelines(model, size, frame, segmenter, threads)
    agreeing = agreement(candidates, segmenter, frame)
    times = medians_in_turns({name: partial(run, frame) for name, run in candidates.items()}, args.rounds, args.seconds)
    return {
        "model": model,
        "input": size_name(size),
        "threads": threads,
        "push_ms": median(times["push"]),
        "others": {
            name: {"ms": median(times[name]), "agreement": share, **ratio(times[name], times["push"])}
            for name, share in agreeing.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=ARCHITECTURES)
    parser.add_argument("--sizes", type=read_size, nargs="+", default=SIZES, metavar="WxH", help="of the input")
    parser.add_argument("--frame", type=read_size, default=(1280, 720), metavar="WxH", help="of the camera")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="of one turn of one pipeline")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    rows = []
    for model in args.models:
        for size in args.sizes:
            for threads in args.threads:
                row = measure(model, size, args, threads)
                rows.append(row)
                others = ", ".join(f"{name} {other['ratio']:.1f}x" for name, other in row["others"].items())
                print(f"{model} {row['input']} threads {threads}: push {row['push_ms']:.1f} ms; {others}")
    print(write_result("runtime_pipelines", {"frame": size_name(args.frame), "rows": rows}, args.json))


if __name__ == "__main__":
    main()
