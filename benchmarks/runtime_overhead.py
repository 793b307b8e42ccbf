"""What a frame costs beside its network: push() in schedule `every` against the same network alone in OpenVINO.

    python benchmarks/runtime_overhead.py
    python benchmarks/runtime_overhead.py --models compact --sizes 512x256 --threads 1 --rounds 3 --json overhead.json

Both run the same ONNX file with the same options of OpenVINO (threads, precision, latency hint, one stream, no pinned
threads), in turns within one process: the ratio is the median of the rounds' ratios. The frame is uint8 of the
network's input size and the labels are of that size, without confidence. The networks have random weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-untyped]
from record import write_result
from runtime_networks import ARCHITECTURES, SIZES, random_bundle, read_size, size_name, street
from turns import medians_in_turns, ratio

import stpl_rt


def network_alone(bundle: stpl_rt.Bundle, threads: int, precision: str) -> Callable[[], Any]:
    """The bundle's network compiled through OpenVINO's own Python interface, tensors bound once."""
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": "NO",
    }
    core = ov.Core()
    request = core.compile_model(core.read_model(str(bundle.segment.file)), "CPU", options).create_infer_request()
    shape = (1, 3, bundle.input.height, bundle.input.width)
    request.set_input_tensor(ov.Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32)))
    return lambda: request.infer(share_outputs=True)  # else it copies the logits


def measure(bundle: stpl_rt.Bundle, args: argparse.Namespace, threads: int) -> dict[str, Any]:
    """Times and ratio for one network and number of threads."""
    size = (bundle.input.width, bundle.input.height)
    segmenter = stpl_rt.Segmenter(bundle, schedule="every", precision=args.precision, threads=threads)
    (frame,) = street(size, 1)
    calls = {
        "network": network_alone(bundle, threads, args.precision),
        "push": lambda: segmenter.push(frame),
    }
    times = medians_in_turns(calls, args.rounds, args.seconds)
    return {
        "model": bundle.name,
        "input": size_name(size),
        "threads": threads,
        "network_ms": median(times["network"]),
        "push_ms": median(times["push"]),
        **ratio(times["push"], times["network"]),
        "stages_ms": dict(segmenter.push(frame).timing),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=ARCHITECTURES)
    parser.add_argument("--sizes", type=read_size, nargs="+", default=SIZES, metavar="WxH")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of one turn of one of the two")
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    rows = []
    for model in args.models:
        for size in args.sizes:
            for threads in args.threads:
                row = measure(random_bundle(model, size), args, threads)
                rows.append(row)
                print(
                    f"{row['model']} {row['input']} threads {threads}: network {row['network_ms']:.2f} ms, push "
                    f"{row['push_ms']:.2f} ms, ratio {row['ratio']:.3f} ({row['ratio_min']:.3f}-{row['ratio_max']:.3f})"
                )
    print(write_result("runtime_overhead", {"precision": args.precision, "rows": rows}, args.json))


if __name__ == "__main__":
    main()
