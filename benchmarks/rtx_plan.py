"""Does a plan of TensorRT for RTX run on this GPU, and how fast?

Networks with random weights become plans, run, and are compared with PyTorch on the same input. Three kinds of plans
are tried: built here for no compute capability in particular; built here for the GPU at hand; and carried, which a
machine without a GPU left in --plans. Needs PyTorch, onnx, onnxscript and tensorrt_rtx, nothing of ours that is
compiled. Without a GPU the plans of the first kind are built, and left in --plans, and that is all.

Run: python benchmarks/rtx_plan.py [--networks compact segformer-b0] [--size 512x1024] [--plans FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

from stpl.models.registry import build_model

CLASSES = 19
OPSET = 18
WARM_UP, RUNS = 10, 100
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}

Facts = dict[str, Any]


class Refused(Exception):  # noqa: N818 - a finding, not a fault
    """TensorRT does not do it; the text is its own."""


class Builder:
    """TensorRT for RTX with its messages kept."""

    def __init__(self) -> None:
        import tensorrt_rtx

        self.trt = tensorrt_rtx
        self.errors = errors = list[str]()
        severity = tensorrt_rtx.ILogger.Severity

        class Log(tensorrt_rtx.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                tensorrt_rtx.ILogger.__init__(self)

            def log(self, level: Any, message: str) -> None:
                if level in (severity.ERROR, severity.INTERNAL_ERROR):
                    errors.append(" ".join(message.split()))

        self.log = Log()

    def refuse(self, doing: str) -> None:
        text = "; ".join(dict.fromkeys(self.errors)) or "it does not say why"
        self.errors.clear()
        raise Refused(f"TensorRT failed {doing}: {text}")

    def build(self, model: bytes, for_this_gpu: bool) -> bytes:
        """A plan for the GPU at hand; or with the compute capability unset, for every GPU from 8.0 on."""
        builder = self.trt.Builder(self.log)
        network = builder.create_network(0)
        parser = self.trt.OnnxParser(network, self.log)
        if not parser.parse(model):
            self.errors += [parser.get_error(index).desc() for index in range(parser.num_errors)]
            self.refuse("to read the network")
        config = builder.create_builder_config()
        config.clear_flag(self.trt.BuilderFlag.TF32)
        if for_this_gpu:
            config.num_compute_capabilities = 1
            if not config.set_compute_capability(self.trt.ComputeCapability.CURRENT, 0):
                self.refuse("to be told to build for this GPU")
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            self.refuse("to build the network")
        return bytes(plan)

    def load(self, plan: bytes, x: torch.Tensor, logits: torch.Tensor) -> Callable[[], None]:
        """What enqueues a run from ``x`` into ``logits``, on PyTorch's stream."""
        runtime = self.trt.Runtime(self.log)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            self.refuse("to load the plan")
        context = engine.create_execution_context()
        if context is None:
            self.refuse("to make a context")
        context.set_tensor_address("image", x.data_ptr())
        context.set_tensor_address("logits", logits.data_ptr())

        owners = (runtime, engine)  # which the context needs and does not hold

        def run() -> None:
            assert owners
            if not context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                self.refuse("to run the plan")

        return run


def export(model: torch.nn.Module, x: torch.Tensor) -> bytes:
    program = torch.onnx.export(
        model, (x,), dynamo=True, input_names=["image"], output_names=["logits"], opset_version=OPSET, verbose=False
    )
    assert program is not None
    return program.model_proto.SerializeToString()


def milliseconds(run: Callable[[], object]) -> Facts:
    """Median and 99th percentile, by the GPU's clock, a run at a time."""
    times = []
    for number in range(WARM_UP + RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        if number >= WARM_UP:
            times.append(begin.elapsed_time(end))
    return {"median_ms": statistics.median(times), "p99_ms": sorted(times)[int(0.99 * (RUNS - 1))]}


def try_on_gpu(builder: Builder, plan: bytes, model: torch.nn.Module, x: torch.Tensor) -> Facts:
    model, x = model.cuda(), x.cuda()
    with torch.no_grad():
        expected = model(x)
        logits = torch.full_like(expected, torch.nan)
        run = builder.load(plan, x, logits)
        run()
        torch.cuda.synchronize()
        same = (logits.argmax(1) == expected.argmax(1)).float().mean().item()
        worst = (logits - expected).abs().max().item()
        return {
            "runs": True,
            "equal_labels": same,
            "largest_difference": worst,
            "largest_logit": expected.abs().max().item(),
            "plan": milliseconds(run),
            "pytorch": milliseconds(lambda: model(x)),
        }


def try_plan(
    builder: Builder, make: Callable[[], bytes], model: torch.nn.Module, x: torch.Tensor, keep: Path | None = None
) -> Facts:
    """Makes a plan, leaves it in ``keep`` where one is named, and runs it where there is a GPU."""
    found: Facts = {}
    try:
        started = time.monotonic()
        plan = make()
        found |= {"seconds_to_make": round(time.monotonic() - started, 2), "plan_bytes": len(plan)}
        if keep is not None:
            keep.parent.mkdir(parents=True, exist_ok=True)
            keep.write_bytes(plan)
        if torch.cuda.is_available():
            found |= try_on_gpu(builder, plan, model, x)
        else:
            found |= {"runs": None, "reason": "no GPU: built, not run"}
    except Refused as why:
        found |= {"runs": False, "reason": str(why)}
    return found


def try_network(
    builder: Builder, name: str, precision: str, size: tuple[int, int], plans: Path | None
) -> Iterator[tuple[str, Facts]]:
    """The kinds of plans, one after the other, and what was found of each."""
    torch.manual_seed(0)
    model = build_model(name, CLASSES).eval().to(PRECISIONS[precision])
    x = torch.rand(1, 3, *size).to(PRECISIONS[precision])
    content = export(model, x)
    has_gpu = torch.cuda.is_available()
    carried = plans / f"{name}-{precision}-{size[1]}x{size[0]}.plan" if plans is not None else None
    keep = None if has_gpu else carried
    yield "capability unset", try_plan(builder, lambda: builder.build(content, False), model, x, keep)
    if has_gpu:
        yield "this GPU's capability", try_plan(builder, lambda: builder.build(content, True), model, x)
    if has_gpu and carried is not None and carried.is_file():
        yield "carried", try_plan(builder, carried.read_bytes, model, x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["compact", "segformer-b0"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--size", default="512x1024", help="height and width of the input")
    parser.add_argument("--plans", type=Path, metavar="FOLDER", help="of plans made where there is no GPU")
    parser.add_argument("--json", type=Path, help="write it there; standard output else")
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    height, width = (int(side) for side in arguments.size.split("x"))
    builder = Builder()
    results: Facts = {"tensorrt_rtx": builder.trt.__version__, "torch": torch.__version__, "size": arguments.size}
    results["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    for name in arguments.networks:
        for precision in arguments.precisions:
            found = results[f"{name} {precision}"] = {}
            for kind, facts in try_network(builder, name, precision, (height, width), arguments.plans):
                found[kind] = facts
                if arguments.json is not None:  # a plan may break the process: what is known by then stays
                    arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if arguments.json is None:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
