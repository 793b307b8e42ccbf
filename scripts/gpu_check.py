"""What scripts/gpu_check.sh runs: one step after the other, each with a time limit, and a JSON of what they found.

A step that cannot run is skipped with its reason, one that fails leaves the end of its output and what it had measured
until then; neither stops the rest. The exit status is 1 where a step failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import pieces

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "gpu"
STAGE = BUILD / "python"
WHEELS = BUILD / "wheels"
WITH_TENSORRT = ROOT / "build" / "gpu-tensorrt"
LAST_LINES = 40
SECONDS = 470
END = time.monotonic() + SECONDS

MODULE = "stpl_rt_python"
INDUCTOR_PIPELINE = "stpl_rt_inductor_pipeline"
PROGRAMS = (
    *("stpl_rt_cuda_bench", "stpl_rt_cuda_pipeline", INDUCTOR_PIPELINE),
    *("stpl_rt_cuda_tests", "stpl_rt_tensorrt_tests"),
)
PLANS = [(network, precision) for network in ("compact", "segformer-b0") for precision in ("fp32", "fp16")]

Facts = dict[str, Any]


class SkippedError(Exception):
    """A step that cannot run here; the text says why."""


class FailedError(Exception):
    """A step that ran and failed; the text is the end of what it said, ``results`` what it had found until then."""

    def __init__(self, text: str, results: Facts | None = None) -> None:
        super().__init__(text)
        self.results = results


def execute(command: Sequence[str | Path], limit: float, **environment: str) -> str:
    """Output of a command; raises :class:`FailedError` where it fails or takes longer than ``limit`` seconds."""
    left = END - time.monotonic()
    if left < 1:
        raise SkippedError(f"no time left: all {SECONDS} s went to what comes before it")
    limit = min(limit, left)
    beside_python = str(Path(sys.executable).parent)  # CMake and Ninja may be there alone
    path = os.pathsep.join(filter(None, (beside_python, os.environ.get("PATH", ""))))
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # a group of its own, that ends as a whole
    )
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        end(process)
        raise FailedError(f"not done after {limit:.0f} s\n{last_lines(process.communicate()[0])}") from None
    except BaseException:
        end(process)
        raise
    if process.returncode != 0:
        raise FailedError(f"exit status {process.returncode}\n{last_lines(said)}")
    return said


def end(process: subprocess.Popen[str]) -> None:
    """With all that it started: what goes on would take the GPU's time from the steps that follow."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def measured(command: Sequence[str | Path], out: Path, limit: float, **environment: str) -> Facts:
    """What a benchmark left in ``out``, which it writes as it goes; of one that fails, what it had written."""
    out.unlink(missing_ok=True)
    try:
        execute([*command, "--json", out], limit, **environment)
    except FailedError as why:
        with contextlib.suppress(OSError, ValueError):
            why.results = json.loads(out.read_text(encoding="utf-8"))
        raise
    found: Facts = json.loads(out.read_text(encoding="utf-8"))
    return found


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


def unpack(carried: Path | None) -> Facts:
    """Puts the wheels of a folder, whole or in pieces, where only this check sees them."""
    if carried is None:
        raise SkippedError("no folder of wheels is given (--wheels, STPL_WHEELS)")
    shutil.rmtree(WHEELS, ignore_errors=True)
    whole = [pieces.join(listing, BUILD / "joined") for listing in sorted(carried.rglob("*.whl.pieces"))]
    files = [*sorted(carried.rglob("*.whl")), *whole]
    pip: list[str | Path] = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    refused = {}
    for file in files:  # each by itself: one made for another Python leaves the others
        try:
            execute([*pip, "--no-compile", "--target", WHEELS, file], 90)
        except FailedError as why:
            refused[file.name] = str(why)
    WHEELS.mkdir(parents=True, exist_ok=True)
    found: Facts = {"wheels": [file.name for file in files if file.name not in refused], "refused": refused}
    if refused:
        raise FailedError("\n".join(f"{name}: {why}" for name, why in refused.items()), found)
    return found


class Given:
    """What the check was started with, and what it finds of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.carried: Path | None = arguments.wheels
        self.bundles: Path = arguments.bundles
        self.models: list[str] = arguments.models
        self.sizes: list[str] = arguments.sizes
        self.gpu: Facts = {}

    @property
    def packages(self) -> Path | None:
        """The folder of unpacked wheels."""
        return WHEELS if self.carried is not None and WHEELS.is_dir() else None

    @property
    def path(self) -> dict[str, str]:
        """The environment that finds them."""
        return importing(self.packages)

    def options(self) -> dict[str, str]:
        """Of every configuration with CMake. Without OpenVINO the extension module runs no network on the CPU."""
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "STPL_RT_OPENVINO": "ON" if can_import("openvino", self.path) else "OFF",
            "STPL_RT_PYTHON": "OFF",
            "STPL_RT_TESTS": "OFF" if self.why_no_tests() else "ON",
            "Python_EXECUTABLE": sys.executable,
        }
        header = self.find("nlohmann/json.hpp")
        if header is not None:
            options["STPL_RT_JSON_INCLUDE_DIR"] = str(header.parent.parent)
        sources = self.googletest()
        if sources is not None:
            options["GTEST_ROOT"] = str(sources)
        return options

    def why_no_tests(self) -> str:
        """Empty where they can be built."""
        missing = []
        if self.googletest() is None and not any(map(is_there, ("/usr/src/googletest", "/usr/include/gtest"))):
            missing.append("GoogleTest (installed, among what is carried, or in GTEST_ROOT)")
        if not can_import("onnx", self.path):
            missing.append("the Python package onnx")
        return f"the tests want {' and '.join(missing)}" if missing else ""

    def googletest(self) -> Path | None:
        """Where GTEST_ROOT says, else its sources among what is carried."""
        if is_there(os.environ.get("GTEST_ROOT", "")):
            return Path(os.environ["GTEST_ROOT"]).resolve()
        lists = self.find("googletest/CMakeLists.txt")
        return lists.parent.parent if lists is not None else None

    def find(self, name: str) -> Path | None:
        """A file of this name among what is carried."""
        if self.carried is None:
            return None
        return min(self.carried.resolve().rglob(name), default=None)


def is_there(folder: str) -> bool:
    return bool(folder) and Path(folder).is_dir()


def find_nvcc() -> str:
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        raise SkippedError("no nvcc on the path or in /usr/local/cuda/bin")
    return nvcc


def kernel_options(given: Given) -> dict[str, str]:
    return {
        "STPL_RT_CUDA": "ON",
        "CMAKE_CUDA_COMPILER": find_nvcc(),
        "CMAKE_CUDA_ARCHITECTURES": given.gpu["compute_cap"].replace(".", ""),
    }


def configure(folder: Path, options: dict[str, str], given: Given) -> None:
    command = ["cmake", "-S", ".", "-B", folder, "-G", "Ninja", *(f"-D{k}={v}" for k, v in options.items())]
    execute(command, 120, **given.path)


def make(folder: Path, targets: Sequence[str], limit: float, given: Given) -> None:
    """As many of the targets as can be built, anew; raises :class:`FailedError` where some cannot."""
    forget(folder, targets)
    execute(["cmake", "--build", folder, "--target", *targets, "--", "-k", "0"], limit, **given.path)


def products(folder: Path, target: str) -> list[Path]:
    """What a build left of a target in its folder: programs have its name, the extension module has its own."""
    if target == MODULE:  # not one of those that the tests build, of other parts but of the same name
        return list((folder / "bindings").glob("_core*.so"))
    return [path for path in folder.rglob(target) if path.is_file()]


def forget(folder: Path, targets: Sequence[str]) -> None:
    """What an earlier run built must not stand for what is not built now."""
    for target in targets:
        for product in products(folder, target):
            product.unlink()


def build(given: Given) -> Facts:
    """Builds the kernels, their benchmarks and tests; what needs Python comes after it."""
    options = {**given.options(), **kernel_options(given)}
    started = time.monotonic()
    facts: Facts = dict(options)
    if options["STPL_RT_TESTS"] == "ON":
        try:
            configure(BUILD, options, given)
        except FailedError as why:
            facts["without_tests"] = str(why)
            options["STPL_RT_TESTS"] = "OFF"
    if options["STPL_RT_TESTS"] == "OFF":
        configure(BUILD, options, given)
    tests = ["stpl_rt_cuda_tests"] if options["STPL_RT_TESTS"] == "ON" else []
    make(BUILD, ["stpl_rt_cuda_bench", "stpl_rt_cuda_pipeline", *tests], 240, given)
    return {**facts, "seconds_to_build": round(time.monotonic() - started, 1)}


def build_module(given: Given) -> Facts:
    """The extension module for this interpreter, of what is built already."""
    needs("nanobind", **given.path)
    started = time.monotonic()
    options = {**given.options(), **kernel_options(given), "STPL_RT_PYTHON": "ON", "STPL_RT_TESTS": "OFF"}
    configure(BUILD, options, given)
    make(BUILD, [MODULE], 200, given)
    return {"seconds_to_build": round(time.monotonic() - started, 1)}


def built(name: str, folder: Path) -> Path:
    """A program that a build was to make."""
    found = next((path for path in products(folder, name) if os.access(path, os.X_OK)), None)
    if found is None:
        raise SkippedError(f"{name} was not built")
    return found


def gpu_tests(given: Given) -> Facts:
    """The tests labelled gpu; a skipped one is a failure here, for there is a GPU."""
    if reason := given.why_no_tests():
        raise SkippedError(reason)
    return tested(built("stpl_rt_cuda_tests", BUILD), BUILD, "gpu")


def tested(program: Path, folder: Path, label: str) -> Facts:
    """All tests of a program but those of a machine without a GPU, in one process: each would make CUDA's context anew.

    A fault can break the context for every test after it: where one fails, all run again, each in a process of its own.
    """
    out = folder / f"{program.name}.json"
    out.unlink(missing_ok=True)
    try:
        execute([program, "--gtest_filter=-WithoutGpu.*", f"--gtest_output=json:{out}"], 120)
    except FailedError as why:
        each = ["ctest", "--test-dir", folder, "-L", label, "-E", "WithoutGpu", "-j", "8", "--output-on-failure"]
        execute(each, 120)
        raise FailedError(f"in one process, though each passes by itself: {why}") from None
    suites = json.loads(out.read_text(encoding="utf-8"))["testsuites"]
    ends = [test["result"] for suite in suites for test in suite["testsuite"] if test["status"] == "RUN"]
    if skipped := ends.count("SKIPPED"):
        raise FailedError(f"{skipped} tests were skipped though there is a GPU")
    return {"passed": ends.count("COMPLETED"), "of": len(ends)}


def kernels() -> Facts:
    """Microseconds of every kernel."""
    found: Facts = json.loads(execute([built("stpl_rt_cuda_bench", BUILD)], 120))
    return found


def pipeline() -> Facts:
    """Microseconds of whole frames around a network that takes no time: in the GPU's memory and the host's."""
    found: Facts = json.loads(execute([built("stpl_rt_cuda_pipeline", BUILD)], 90))
    return found


def carried_bundles(given: Given) -> list[Path]:
    bundles = sorted(manifest.parent for manifest in given.bundles.glob("*-f16/bundle/manifest.json"))
    if not bundles:
        raise SkippedError(f"expected bundles in {given.bundles} (--bundles), found none")
    return bundles


def python_plans(given: Given) -> Facts:
    """Plans with fp16 ends for the bundles: the runtime finds them, and builds without them float32 ones itself."""
    bundles = carried_bundles(given)
    environment = importing(stage_of_most(), given.packages)
    needs("onnx", "pydantic", "tensorrt_rtx", **environment)
    found: Facts = json.loads(execute([sys.executable, "benchmarks/gpu_plans.py", *bundles], 90, **environment))
    return found


def pipeline_of_networks(given: Given) -> Facts:
    """The same around networks, by TensorRT: what a frame takes beside what its network takes alone."""
    program = built("stpl_rt_cuda_pipeline", WITH_TENSORRT)
    bundles = carried_bundles(given)

    def timed(bundle: Path) -> Facts:
        return {bundle.parent.name: json.loads(execute([program, bundle, "f16"], 60))}

    return each({bundle.parent.name: partial(timed, bundle) for bundle in bundles})


def pipeline_of_inductor(given: Given, with_tensorrt: Facts) -> Facts:
    """The same around the first network compiled by PyTorch, where TensorRT did not measure it: another real engine."""
    if with_tensorrt["status"] == "done":
        raise SkippedError("TensorRT's engine was measured in the step 'pipeline of networks'")
    needs("torch", "transformers", "pydantic", "safetensors", **given.path)
    bundle = first_bundle(given)
    options = {**given.options(), **kernel_options(given), "STPL_RT_PYTHON": "OFF", "STPL_RT_TESTS": "OFF"}
    configure(BUILD, {**options, "STPL_RT_INDUCTOR": "ON"}, given)
    make(BUILD, [INDUCTOR_PIPELINE], 120, given)
    command: list[str | Path] = [sys.executable, "benchmarks/inductor_packages.py", bundle.parent]
    made = measured(command, BUILD / "inductor_packages.json", 150, **importing(stage_of_most(), given.packages))
    return {"packages": made, bundle.parent.name: json.loads(execute([built(INDUCTOR_PIPELINE, BUILD), bundle, "f16"], 60))}


def first_bundle(given: Given) -> Path:
    """The one of the largest frames: its network takes long enough for a ratio to mean something."""

    def pixels(bundle: Path) -> int:
        side = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["input"]
        return int(side["width"]) * int(side["height"])

    return max(carried_bundles(given), key=lambda bundle: (pixels(bundle), "segformer" in bundle.parent.name))


def each(parts: dict[str, Callable[[], Facts]]) -> Facts:
    """What the parts of a step find, one after the other: one that breaks leaves the others their turn.

    Raises :class:`FailedError` where one did, with what all had found.
    """
    found: Facts = {}
    failed = []
    for name, part in parts.items():
        try:
            found |= part()
        except (FailedError, SkippedError) as why:
            found |= getattr(why, "results", None) or {}
            found.setdefault(name, {})["failed"] = str(why)
            failed.append(f"{name}: {why}")
    if failed:
        raise FailedError("\n".join(failed), found)
    return found


def stage_package(build: Path) -> Path:
    """A folder from which stpl and stpl_rt, with the module just built in ``build``, are imported."""
    modules = products(build, MODULE)
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


def rtx_plan(given: Given) -> Facts:
    """Plans of TensorRT for RTX: whether they run here, and their time. A refusal is a finding, no failure."""
    path = given.path
    needs("torch", "onnx", "onnxscript", "transformers", **path)
    if not can_import("tensorrt_rtx", path):
        raise SkippedError(
            "expected the Python package tensorrt_rtx, installed or as wheels in the folder of --wheels (STPL_WHEELS), "
            f"found it neither installed nor in {given.carried or 'any folder, for none is given'}"
        )

    def tried(network: str, precision: str) -> Facts:
        command: list[str | Path] = [sys.executable, "benchmarks/rtx_plan.py"]
        command += ["--networks", network, "--precisions", precision]
        carried = given.find(f"{network}-{precision}-*.plan")
        command += ["--plans", carried.parent] if carried is not None else []
        return measured(command, BUILD / "rtx_plan.json", 90, **path)

    return each({f"{network} {precision}": partial(tried, network, precision) for network, precision in PLANS})


def can_import(module: str, environment: dict[str, str]) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=False).returncode == 0


def tensorrt_engine(given: Given) -> Facts:
    """The C++ TensorRT engine and the kernels in one build, tested with the library that TENSORRT_ROOT names."""
    roots = os.environ.get("TENSORRT_ROOT", "")
    if not roots:
        raise SkippedError(
            "expected TensorRT's headers and library in TENSORRT_ROOT (an SDK's folder, or HEADERS;LIBRARIES where "
            "they lie apart), found it unset"
        )
    options = {
        **given.options(),
        **kernel_options(given),
        "STPL_RT_TENSORRT": "ON",
        "STPL_RT_PYTHON": "ON" if can_import("nanobind", given.path) else "OFF",
        "TENSORRT_ROOT": f"{roots};{given.packages}" if given.packages else roots,
    }
    configure(WITH_TENSORRT, options, given)
    module = [MODULE] if options["STPL_RT_PYTHON"] == "ON" else []
    tests = ["stpl_rt_tensorrt_tests"] if options["STPL_RT_TESTS"] == "ON" else []
    make(WITH_TENSORRT, ["stpl_rt_cuda_pipeline", *tests, *module], 240, given)
    if not tests:
        raise SkippedError(f"built, not tested: {given.why_no_tests()}")
    return tested(built(tests[0], WITH_TENSORRT), WITH_TENSORRT, "tensorrt")


def stage_of_most() -> Path:
    """The package with the module that has TensorRT, where there is one."""
    return stage_package(WITH_TENSORRT if products(WITH_TENSORRT, MODULE) else BUILD)


def python_tests(given: Given) -> Facts:
    """The Python tests with the marker gpu, of the package built here; what is skipped is told with its reason.

    Of the files that have such tests alone: others import what need not be here.
    """
    needs("pytest", "pytest_timeout", "hypothesis", "torch", **given.path)
    files = sorted(file for file in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.gpu" in file.read_text("utf-8"))
    report = BUILD / "python_tests.xml"
    report.unlink(missing_ok=True)
    command: list[str | Path] = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--tb=short"]
    command += ["-p", "no:cacheprovider", "--continue-on-collection-errors", f"--junit-xml={report}"]
    # One test more may begin just before the session's time is up: all of it ends, and is reported, before the limit.
    command += ["--timeout=45", "--session-timeout=90"]
    try:
        execute([*command, *files], 150, **importing(stage_of_most(), given.packages))
    except FailedError as why:
        with contextlib.suppress(OSError, ElementTree.ParseError):
            why.results = outcomes(report)
        raise
    return outcomes(report)


def outcomes(report: Path) -> Facts:
    """How many tests of a JUnit report passed, failed and were skipped; every skip's reason, every failure's end."""
    names = set()
    failures: dict[str, str] = {}
    skips: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        names.add(name)
        for ending in case:
            if ending.tag in ("failure", "error"):
                failures[name] = last_lines(ending.text or "")
            elif ending.tag == "skipped":
                skips[name] = ending.get("message", "")
    passed = len(names - failures.keys() - skips.keys())
    counts = {"passed": passed, "failed": len(failures), "skipped": len(skips)}
    return {**counts, "failures": failures, "reasons_of_skips": skips}


def whole_pipelines(given: Given) -> Facts:
    """push() with TensorRT against PyTorch, torch.compile and ONNX Runtime; without TensorRT these alone."""
    path = given.path
    needs("torch", "transformers", "pydantic", "onnx", "onnxscript", "av", **path)
    if not (can_import("openvino", path) or any(given.bundles.glob("*-f16/bundle/manifest.json"))):
        raise SkippedError(
            f"expected OpenVINO, to export bundles, or bundles in {given.bundles}, made elsewhere by "
            "benchmarks/gpu_pipelines.py --export-only; found neither"
        )
    command: list[str | Path] = [sys.executable, "benchmarks/gpu_pipelines.py", "--bundles", given.bundles]
    command += ["--models", *given.models] if given.models else []
    command += ["--sizes", *given.sizes] if given.sizes else []
    return measured(command, BUILD / "gpu_pipelines.json", 240, **importing(stage_of_most(), given.packages))


def training_step(given: Given) -> Facts:
    """Time, memory and share of the bf16 limit of a step of STPL beside one of self-training."""
    path = given.path
    needs("torch", "kornia", "transformers", "pydantic", "rich", "safetensors", **path)
    command: list[str | Path] = [sys.executable, "benchmarks/gpu_training_step.py"]
    return measured(command, BUILD / "gpu_training_step.json", 240, **importing(stage_of_most(), given.packages))


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
    """Runs one step, where those that it comes after are done, and notes how it ended, whatever that is."""
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
        if why.results is not None:
            entry["results"] = why.results
    except Exception:  # a fault of this script: the other steps' figures are worth as much
        entry = {"status": "failed", "reason": last_lines(traceback.format_exc())}
    entry["seconds"] = round(time.monotonic() - started, 1)
    report["steps"][name] = entry
    print(entry["status"], f"({entry['seconds']} s)", entry.get("reason", "").splitlines()[:1] or "", flush=True)
    return entry.get("results")


def folder_of(gpu: Facts) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", gpu["name"].lower()).strip("-") if gpu else "no-gpu"
    return ROOT / "benchmarks" / "results" / name


def commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or os.environ.get("STPL_COMMIT", "unknown")


def save(report: Facts, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "gpu_check.json"
    fresh = target.with_suffix(".tmp")
    fresh.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    fresh.replace(target)
    return target


def stop(_number: int, _frame: object) -> NoReturn:
    """Whoever ends this script ends what it started."""
    raise SystemExit(143)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder_of_out = os.environ.get("OUT")
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        default=Path(folder_of_out) if folder_of_out else None,
        help="the JSON's folder (default: $OUT, else benchmarks/results/<gpu>)",
    )
    parser.add_argument(
        "--wheels",
        type=Path,
        default=Path(os.environ["STPL_WHEELS"]) if os.environ.get("STPL_WHEELS") else None,
        help="folder of wheels of what is not installed, of headers and GoogleTest's sources (default: $STPL_WHEELS)",
    )
    parser.add_argument(
        "--bundles",
        type=Path,
        default=ROOT / "runs" / "bench" / "gpu_bundles",
        help="folder that benchmarks/gpu_pipelines.py --export-only filled (default: %(default)s)",
    )
    parser.add_argument("--models", nargs="+", default=[], help="of the pipelines")
    parser.add_argument("--sizes", nargs="+", default=[], metavar="WxH", help="of the pipelines")
    return parser.parse_args()


def main() -> int:
    signal.signal(signal.SIGTERM, stop)
    arguments = parse()
    given = Given(arguments)
    for build_folder in (BUILD, WITH_TENSORRT):  # the objects stay
        forget(build_folder, (*PROGRAMS, MODULE))
    report: Facts = {"commit": commit(), "python": sysconfig.get_python_version(), "steps": {}}
    given.gpu = run("gpu", the_gpu, report, after=()) or {}
    folder = arguments.out or folder_of(given.gpu)
    # A build that fails in part leaves programs: what comes after it asks for those alone.
    steps: dict[str, Callable[[], Facts]] = {
        "wheels": lambda: unpack(given.carried),
        "build": lambda: build(given),
        "kernels": kernels,
        "pipeline": pipeline,
        "tests": lambda: gpu_tests(given),
        "limits": limits,
        "module": lambda: build_module(given),
        "rtx plan": lambda: rtx_plan(given),
        "tensorrt engine": lambda: tensorrt_engine(given),
        "python tests": lambda: python_tests(given),
        "python plans": lambda: python_plans(given),
        "pipeline of networks": lambda: pipeline_of_networks(given),
        "pipeline of inductor": lambda: pipeline_of_inductor(given, report["steps"]["pipeline of networks"]),
        "pipelines of users": lambda: whole_pipelines(given),
        "training step": lambda: training_step(given),
    }
    target = save(report, folder)
    for name, step in steps.items():
        run(name, step, report)
        target = save(report, folder)
    print(target)
    return int(any(entry["status"] == "failed" for entry in report["steps"].values()))


if __name__ == "__main__":
    sys.exit(main())
