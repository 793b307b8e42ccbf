"""What scripts/gpu_check.sh runs: one step after the other, each with a time limit, and a JSON of what they found.

A step that cannot run is skipped with its reason, one that fails leaves the end of its output; neither stops the rest.
The exit status is 1 where a step failed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "gpu"
STAGE = BUILD / "python"
WHEELS = BUILD / "wheels"
WITH_TENSORRT = BUILD / "tensorrt"
BUNDLES = ROOT / "runs" / "bench" / "networks"
LAST_LINES = 40
SECONDS = 470
END = time.monotonic() + SECONDS

PLANS = [(network, precision) for network in ("compact", "segformer-b0") for precision in ("fp32", "fp16")]

Facts = dict[str, Any]


class SkippedError(Exception):
    """A step that cannot run here; the text says why."""


class FailedError(Exception):
    """A step that ran and failed; the text is the end of what it said."""


def execute(command: list[str | Path], limit: float, **environment: str) -> str:
    """Output of a command; raises :class:`FailedError` where it fails or takes longer than ``limit`` seconds."""
    left = END - time.monotonic()
    if left < 1:
        raise SkippedError(f"no time left: all {SECONDS} s went to what comes before it")
    limit = min(limit, left)
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit,
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        raise FailedError(f"not done after {limit:.0f} s\n{last_lines(said)}") from None
    if done.returncode != 0:
        raise FailedError(f"exit status {done.returncode}\n{last_lines(done.stdout)}")
    return done.stdout


def last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-LAST_LINES:])


def needs(*modules: str, **environment: str) -> None:
    missing = [name for name in modules if not can_import(name, environment)]
    if missing:
        raise SkippedError(f"expected the Python packages {', '.join(modules)}, did not find {', '.join(missing)}")


def the_gpu() -> Facts:
    """Name, compute capability, driver and memory of the first GPU."""
    if shutil.which("nvidia-smi") is None:
        raise SkippedError("no nvidia-smi: no NVIDIA driver here")
    fields = ("name", "compute_cap", "driver_version", "memory.total", "clocks.max.sm")
    line = execute(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"], 30).splitlines()[0]
    return dict(zip(fields, (value.strip() for value in line.split(",")), strict=True))


def configure(gpu: Facts) -> Facts:
    """Builds the kernels, their tests and benchmark, and the extension module for this interpreter."""
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        raise SkippedError("no nvcc on the path or in /usr/local/cuda/bin")
    options = {
        **build_options(),
        "STPL_RT_CUDA": "ON",
        "CMAKE_CUDA_COMPILER": nvcc,
        "CMAKE_CUDA_ARCHITECTURES": gpu["compute_cap"].replace(".", ""),
    }
    started = time.monotonic()
    execute(["cmake", "-S", ".", "-B", BUILD, "-G", "Ninja", *(f"-D{k}={v}" for k, v in options.items())], 120)
    execute(["cmake", "--build", BUILD], 300)
    return {**options, "seconds_to_build": round(time.monotonic() - started, 1)}


def build_options() -> dict[str, str]:
    """What can be built here beside the kernels. Without OpenVINO the extension module runs no network on the CPU."""
    has = {name: importlib.util.find_spec(name) is not None for name in ("nanobind", "openvino", "onnx")}
    return {
        "STPL_RT_OPENVINO": "ON" if has["openvino"] else "OFF",
        "STPL_RT_PYTHON": "ON" if has["nanobind"] else "OFF",
        "STPL_RT_TESTS": "ON" if has_googletest() and has["onnx"] else "OFF",
        "Python_EXECUTABLE": sys.executable,
    }


def has_googletest() -> bool:
    places = [os.environ.get("GTEST_ROOT", ""), "/usr/src/googletest", "/usr/include/gtest"]
    return any(place and Path(place).is_dir() for place in places)


def gpu_tests() -> Facts:
    """The tests labelled gpu; a skipped one is a failure here, for there is a GPU."""
    if not (BUILD / "tests").is_dir():
        raise SkippedError("they want GoogleTest (installed, or its sources in GTEST_ROOT) and the Python package onnx")
    return tested(BUILD, "gpu")


def tested(build: Path, label: str, *options: str) -> Facts:
    output = execute(["ctest", "--test-dir", build, "-L", label, *options, "--output-on-failure"], 180)
    # CTest 4 leaves out how many failed where none did.
    found = re.search(r"(\d+)% tests passed(?:, (\d+) tests failed)? out of (\d+)", output)
    skipped = len(re.findall(r"\*\*\*Skipped", output))
    if found is None or skipped:
        raise FailedError(f"{skipped} tests were skipped though there is a GPU\n{last_lines(output)}")
    return {"passed": int(found[3]) - int(found[2] or 0), "of": int(found[3])}


def kernels() -> Facts:
    """Microseconds of every kernel."""
    programs = list(BUILD.rglob("stpl_rt_cuda_bench"))
    if not programs:
        raise SkippedError("stpl_rt_cuda_bench was not built")
    found: Facts = json.loads(execute([programs[0]], 120))
    return found


def pipeline() -> Facts:
    """Microseconds of whole frames around a network that takes no time: in the GPU's memory and the host's."""
    programs = list(BUILD.rglob("stpl_rt_cuda_pipeline"))
    if not programs:
        raise SkippedError("stpl_rt_cuda_pipeline was not built")
    found: Facts = json.loads(execute([programs[0]], 90))
    return found


def stage_package(build: Path) -> Path:
    """A folder from which stpl and stpl_rt, with the module just built in ``build``, are imported."""
    modules = list((build / "bindings").glob("_core*.so"))
    if not modules:
        raise SkippedError("the extension module was not built: it wants the Python package nanobind")
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(ROOT / "python", STAGE)
    for module in modules:
        shutil.copy2(module, STAGE / "stpl_rt")
    return STAGE


def importing(*folders: Path | None) -> dict[str, str]:
    """The environment in which packages are found in these folders first."""
    places = [*(str(folder) for folder in folders if folder is not None), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, places))}


def rtx_plan(wheels: Path | None) -> Facts:
    """Plans of TensorRT for RTX with the compute capability unset: whether they run here, and their time."""
    path = importing(unpacked(wheels))
    needs("torch", "onnx", "onnxscript", **path)
    if not can_import("tensorrt_rtx", path):
        raise SkippedError(
            "expected the Python package tensorrt_rtx, installed or as wheels in the folder of --wheels (STPL_WHEELS), "
            f"found it neither installed nor in {wheels or 'any folder, for none is given'}"
        )
    found: Facts = {}
    for network, precision in PLANS:
        out = BUILD / "rtx_plan.json"
        out.unlink(missing_ok=True)
        command: list[str | Path] = [sys.executable, "benchmarks/rtx_plan.py", "--json", out]
        try:  # each by itself: a plan that breaks the process leaves the others their turn
            execute([*command, "--networks", network, "--precisions", precision], 90, **path)
            found |= json.loads(out.read_text(encoding="utf-8"))
        except (FailedError, SkippedError) as why:
            found[f"{network} {precision}"] = {"runs": False, "reason": str(why)}
    return found


@functools.cache
def unpacked(wheels: Path | None) -> Path | None:
    """The packages of a folder of wheels, where only this check sees them."""
    if wheels is None:
        return None
    files = sorted(wheels.glob("*.whl"))
    if not files:
        raise SkippedError(f"expected wheels (*.whl) in {wheels}, found none")
    shutil.rmtree(WHEELS, ignore_errors=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    execute([*pip, "--no-compile", "--target", WHEELS, *files], 90)
    return WHEELS


def can_import(module: str, environment: dict[str, str]) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=False).returncode == 0


def tensorrt_engine(wheels: Path | None) -> Facts:
    """The C++ TensorRT engine, built and tested with the library that TENSORRT_ROOT names."""
    roots = os.environ.get("TENSORRT_ROOT", "")
    if not roots:
        raise SkippedError(
            "expected TensorRT's headers and library in TENSORRT_ROOT (an SDK's folder, or HEADERS;LIBRARIES where "
            "they lie apart), found it unset"
        )
    if not (has_googletest() and importlib.util.find_spec("onnx")):
        raise SkippedError(
            "its tests want GoogleTest (installed, or its sources in GTEST_ROOT) and the Python package onnx"
        )
    folder = unpacked(wheels)
    toolkit = execute(["scripts/cuda_toolkit.sh"], 30, PYTHON=sys.executable).strip()
    build = WITH_TENSORRT
    options = {
        "STPL_RT_TENSORRT": "ON",
        "STPL_RT_OPENVINO": "OFF",
        "STPL_RT_TESTS": "ON",
        "STPL_RT_PYTHON": build_options()["STPL_RT_PYTHON"],
        "TENSORRT_ROOT": f"{roots};{folder}" if folder else roots,
        "CUDAToolkit_ROOT": toolkit,
        "CMAKE_BUILD_TYPE": "Release",
        "Python_EXECUTABLE": sys.executable,
    }
    execute(["cmake", "-S", ".", "-B", build, "-G", "Ninja", *(f"-D{k}={v}" for k, v in options.items())], 120)
    module = ["stpl_rt_python"] if options["STPL_RT_PYTHON"] == "ON" else []
    execute(["cmake", "--build", build, "--target", "stpl_rt_tensorrt_tests", *module], 240)
    return tested(build, "tensorrt", "--exclude-regex", "^WithoutGpu")


def whole_pipelines(wheels: Path | None) -> Facts:
    """push() with TensorRT against PyTorch, torch.compile and ONNX Runtime; without TensorRT these alone."""
    path = importing(unpacked(wheels))
    needs("torch", "transformers", "pydantic", "onnx", "onnxscript", "av", **path)
    if not (can_import("openvino", path) or any(BUNDLES.glob("*-f16-*/manifest.json"))):
        raise SkippedError(
            f"expected OpenVINO, to export bundles, or bundles in {BUNDLES.relative_to(ROOT)}, made elsewhere by "
            "benchmarks/gpu_pipelines.py --export-only; found neither"
        )
    build = WITH_TENSORRT if any((WITH_TENSORRT / "bindings").glob("_core*.so")) else BUILD
    out = BUILD / "gpu_pipelines.json"
    command: list[str | Path] = [sys.executable, "benchmarks/gpu_pipelines.py", "--json", out]
    execute(command, 240, **importing(stage_package(build), unpacked(wheels)))
    found: Facts = json.loads(out.read_text(encoding="utf-8"))["results"]
    return found


def training_step(wheels: Path | None) -> Facts:
    """Time, memory and share of the bf16 limit of a step of STPL beside one of self-training."""
    path = importing(unpacked(wheels))
    needs("torch", "kornia", "transformers", "pydantic", "rich", "safetensors", **path)
    out = BUILD / "gpu_training_step.json"
    command: list[str | Path] = [sys.executable, "benchmarks/gpu_training_step.py", "--json", out]
    execute(command, 240, **importing(stage_package(BUILD), unpacked(wheels)))
    found: Facts = json.loads(out.read_text(encoding="utf-8"))["results"]
    return found


def limits() -> Facts:
    """What PyTorch reaches here, to measure against: copies within the GPU's memory, bf16 matrix products."""
    needs("torch")
    code = (
        "import torch,json\n"
        "def time(f):\n"
        "  for _ in range(3): f()\n"
        "  a,b=(torch.cuda.Event(enable_timing=True) for _ in '12'); a.record()\n"
        "  for _ in range(20): f()\n"
        "  b.record(); torch.cuda.synchronize(); return a.elapsed_time(b)/20e3\n"
        "x=torch.empty(2**30,dtype=torch.uint8,device='cuda'); y=torch.empty_like(x)\n"
        "m=torch.randn(8192,8192,device='cuda',dtype=torch.bfloat16)\n"
        "print(json.dumps({'copy_tb_per_s':2*x.numel()/time(lambda:y.copy_(x))/1e12,"
        "'bf16_tflops':2*8192**3/time(lambda:m@m)/1e12}))\n"
    )
    found: Facts = json.loads(execute([sys.executable, "-c", code], 120).splitlines()[-1])
    return found


def run(name: str, step: Callable[[], Facts], report: Facts, after: tuple[str, ...] = ("gpu",)) -> Facts | None:
    """Runs one step, where those that it comes after are done, and notes how it ended."""
    print(f"{name} ...", end=" ", flush=True)
    started = time.monotonic()
    entry: Facts = {}
    try:
        for other in after:
            if (status := report["steps"][other]["status"]) != "done":
                raise SkippedError(f"comes after the step '{other}', which was {status}")
        entry = {"status": "done", "results": step()}
    except SkippedError as why:
        entry = {"status": "skipped", "reason": str(why)}
    except FailedError as why:
        entry = {"status": "failed", "reason": str(why)}
    entry["seconds"] = round(time.monotonic() - started, 1)
    report["steps"][name] = entry
    print(entry["status"], f"({entry['seconds']} s)", entry.get("reason", "").splitlines()[:1] or "")
    return entry.get("results")


def folder_of(gpu: Facts | None) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", gpu["name"].lower()).strip("-") if gpu else "no-gpu"
    return ROOT / "benchmarks" / "results" / name


def commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or os.environ.get("STPL_COMMIT", "unknown")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", help="the JSON's folder (default: benchmarks/results/<gpu>)")
    parser.add_argument(
        "--wheels",
        type=Path,
        default=Path(os.environ["STPL_WHEELS"]) if os.environ.get("STPL_WHEELS") else None,
        help="folder of wheels of what is not installed: tensorrt_rtx and its parts, kornia... (default: $STPL_WHEELS)",
    )
    arguments = parser.parse_args()
    report: Facts = {"commit": commit(), "python": sysconfig.get_python_version(), "steps": {}}
    gpu = run("gpu", the_gpu, report, after=())
    run("build", lambda: configure(gpu or {}), report)
    run("tests", gpu_tests, report, after=("build",))
    run("kernels", kernels, report, after=("build",))
    run("pipeline", pipeline, report, after=("build",))
    run("limits", limits, report)
    run("rtx plan", lambda: rtx_plan(arguments.wheels), report)
    run("tensorrt engine", lambda: tensorrt_engine(arguments.wheels), report)
    run("pipelines of users", lambda: whole_pipelines(arguments.wheels), report, after=("build",))
    run("training step", lambda: training_step(arguments.wheels), report, after=("build",))
    folder = arguments.out or folder_of(gpu)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "gpu_check.json"
    fresh = target.with_suffix(".tmp")
    fresh.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    fresh.replace(target)
    print(target)
    return int(any(entry["status"] == "failed" for entry in report["steps"].values()))


if __name__ == "__main__":
    sys.exit(main())
