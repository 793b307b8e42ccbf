"""What a frame costs beside its network: push() in schedule `every` against the same network alone in OpenVINO.

    python benchmarks/overhead.py --bundle runs/demo/bundle --threads 1 2

Both run the same ONNX file with the same threads and precision, in turns within one process, so that the machine's
noise meets both alike: a ratio is the median over the rounds of one median over another. The frame is uint8 of the
network's input size and the labels are of that size.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import openvino as ov
from record import write_result

import stpl_rt


def network_alone(bundle: stpl_rt.Bundle, threads: int, precision: str) -> Callable[[], None]:
    """The bundle's network compiled through OpenVINO's own Python interface, tensors bound once."""
    core = ov.Core()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": "1",
    }
    model = core.read_model(str(bundle.segment.file))
    request = core.compile_model(model, "CPU", options).create_infer_request()
    rng = np.random.default_rng(0)
    shape = (1, 3, bundle.input.height, bundle.input.width)
    request.set_input_tensor(ov.Tensor(rng.normal(size=shape).astype(np.float32)))
    return request.infer


def milliseconds(call: Callable[[], Any], repeats: int) -> float:
    """Median time of one call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


def measure(bundle_path: Path, threads: int, precision: str, rounds: int, repeats: int) -> dict[str, Any]:
    """Times and ratio for one number of threads."""
    bundle = stpl_rt.Bundle.open(bundle_path)
    infer = network_alone(bundle, threads, precision)
    segmenter = stpl_rt.Segmenter(bundle_path, schedule="every", precision=precision, threads=threads)
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, (bundle.input.height, bundle.input.width, 3), dtype=np.uint8)
    pairs = []
    for round_number in range(rounds + 1):
        pair = (milliseconds(infer, repeats), milliseconds(lambda: segmenter.push(frame), repeats))
        if round_number > 0:  # the first round warms up
            pairs.append(pair)
    return {
        "input": f"{bundle.input.width}x{bundle.input.height}",
        "precision": precision,
        "threads": threads,
        "network_ms": median(a for a, _ in pairs),
        "push_ms": median(b for _, b in pairs),
        "ratio": median(b / a for a, b in pairs),
        "ratio_min": min(b / a for a, b in pairs),
        "ratio_max": max(b / a for a, b in pairs),
        "stages_ms": dict(segmenter.push(frame).timing),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--json", type=Path, default=None, help="where to write (default: benchmarks/results/)")
    args = parser.parse_args()
    rows = [measure(args.bundle, n, args.precision, args.rounds, args.repeats) for n in args.threads]
    for row in rows:
        print(
            f"{row['input']} {row['precision']} threads {row['threads']}: network {row['network_ms']:.2f} ms, "
            f"push {row['push_ms']:.2f} ms, ratio {row['ratio']:.3f} ({row['ratio_min']:.3f}-{row['ratio_max']:.3f})"
        )
    print(write_result("overhead", {"rows": rows}, args.json))


if __name__ == "__main__":
    main()
