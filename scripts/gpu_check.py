"""What scripts/gpu_check.sh runs: one step after the other, each with a time limit, and a JSON of what they found.

A step that cannot run is skipped with its reason, one that fails leaves the end of its output and what it had measured
until then; neither stops the rest. The exit status is 1 where a step failed. The figures that have bars come first;
what tests takes the time that is left.
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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import gpu_bars
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
TESTS = "stpl_rt_cuda_tests"
TENSORRT_TESTS = "stpl_rt_tensorrt_tests"
BENCHES = ("stpl_rt_cuda_bench", "stpl_rt_cuda_pipeline")
PROGRAMS = (*BENCHES, INDUCTOR_PIPELINE, TESTS, TENSORRT_TESTS)
OPTIONAL = {"STPL_RT_PYTHON": MODULE, "STPL_RT_INDUCTOR": INDUCTOR_PIPELINE, "STPL_RT_TESTS": ""}
"""Parts of the build that a machine may not have what they want for; what the step 'build' makes of each."""
INDUCTOR_NEEDS = ("torch", "numpy", "pydantic", "safetensors", "yaml", "transformers")
USERS_NEED = (*INDUCTOR_NEEDS, "PIL")
EXPORTS_NEED = ("onnx", "onnxscript", "ml_dtypes", "rich")
TRAINING_NEEDS = (*USERS_NEED, "kornia", "rich", "typer")
PLANS_NEED = ("torch", "numpy", "pydantic", "safetensors", "yaml", "onnx", "ml_dtypes", "rich", "tensorrt_rtx")
PYTHON_TESTS_NEED = ("pytest", "pytest_timeout", "hypothesis", "torch")
LARGEST_ROW = ("--models", "segformer-b1", "--sizes", "2048x1024")
FEW = ("--rounds", "3", "--frames", "20")
FRAMES_OF_INDUCTOR = "20"
HEADERS = (Path("/usr/include"), Path("/usr/local/include"))
DRIVERS = (Path("/usr/local/nvidia/lib64"), Path("/usr/lib/x86_64-linux-gnu"))
REPORT = "gpu_check.json"
PLANS = [(network, precision) for network in ("compact", "segformer-b0") for precision in ("fp32", "fp16")]

Facts = dict[str, Any]
Command = Sequence[str | Path]


class SkippedError(Exception):
    """A step that cannot run here; the text says why."""


class FailedError(Exception):
    """A step that ran and failed; the text is the end of what it said, ``results`` what it had found until then."""

    def __init__(self, text: str, results: Facts | None = None) -> None:
        super().__init__(text)
        self.results = results


def execute(command: Command, limit: float, **environment: str) -> str:
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


def measured(command: Command, out: Path, limit: float, **environment: str) -> Facts:
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


def last_json(text: str) -> Facts:
    """What a program said in one line; libraries may warn before it, and as they are left."""
    line = next(line for line in reversed(text.splitlines()) if line.startswith("{"))
    found: Facts = json.loads(line)
    return found


def last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-LAST_LINES:])


IMPORTS = """
import importlib, importlib.util, json, sys
missing = {name: "not installed" for name in sys.argv[1:] if importlib.util.find_spec(name) is None}
for name in sys.argv[1:] if not missing else []:
    try:
        importlib.import_module(name)
    except Exception as why:
        missing[name] = f"{type(why).__name__}: {why}"
print()
print(json.dumps(missing))
"""
"""What is there may lack what it wants itself: only importing tells."""


def unusable(modules: Sequence[str], environment: dict[str, str]) -> dict[str, str]:
    """Why those of these modules that cannot be imported cannot."""
    said = execute([sys.executable, "-c", IMPORTS, *modules], 120, **environment)
    return last_json(said)


def needs(*modules: str, **environment: str) -> None:
    missing = unusable(modules, environment)
    if missing:
        found = ", ".join(f"{name} ({why})" for name, why in missing.items())
        raise SkippedError(f"expected the Python packages {', '.join(modules)}, cannot import {found}")


def the_gpu() -> Facts:
    """Name, compute capability, driver and memory of the first GPU."""
    if shutil.which("nvidia-smi") is None:
        raise SkippedError("no nvidia-smi: no NVIDIA driver here")
    fields = ("name", "compute_cap", "driver_version", "memory.total", "clocks.max.sm")
    line = execute(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"], 30).splitlines()[0]
    return dict(zip(fields, (value.strip() for value in line.split(",")), strict=True))


def unpack(carried: Path | None, *, reuse: bool = False) -> Facts:
    """Puts the wheels of a folder, whole or in pieces, where only this check sees them."""
    if carried is None:
        raise SkippedError("no folder of wheels is given (--wheels, STPL_WHEELS)")
    listings = sorted(carried.rglob("*.whl.pieces"))
    files = sorted(carried.rglob("*.whl"))
    mark = WHEELS / "unpacked.json"
    names = [file.name for file in (*files, *listings)]
    found: Facts = json.loads(mark.read_text(encoding="utf-8")) if reuse and mark.is_file() else {}
    if found.get("carried") != names:
        found = {
            "carried": names,
            **unpacked([*files, *(pieces.join(listing, BUILD / "joined") for listing in listings)]),
        }
        mark.write_text(json.dumps(found), encoding="utf-8")
    if found["refused"]:
        raise FailedError("\n".join(f"{name}: {why}" for name, why in found["refused"].items()), found)
    return found


def unpacked(files: Sequence[Path]) -> Facts:
    """Each by itself: one that is made for another Python leaves the others."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    refused = {}
    for file in files:
        try:
            execute([*pip, "--no-compile", "--target", WHEELS, file], 90)
        except FailedError as why:
            refused[file.name] = str(why)
    WHEELS.mkdir(parents=True, exist_ok=True)
    return {"wheels": [file.name for file in files if file.name not in refused], "refused": refused}


class Given:
    """What the check was started with, and what it finds of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.carried: Path | None = arguments.wheels
        self.bundles: Path = arguments.bundles
        self.models: list[str] = arguments.models
        self.sizes: list[str] = arguments.sizes
        self.reuse = bool(arguments.steps)
        """What an earlier call built is not built anew."""
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

    def optional_parts(self) -> dict[str, str]:
        """Of the kernels' build: what is asked for where what it wants is there."""
        there = {
            "STPL_RT_PYTHON": can_import("nanobind", self.path),
            "STPL_RT_INDUCTOR": can_import("torch", self.path),
            "STPL_RT_TESTS": not self.why_no_tests(),
        }
        return {part: "ON" if is_there else "OFF" for part, is_there in there.items()}

    def has_json(self) -> bool:
        """Without this header nothing is built."""
        places = [folder / "nlohmann" / "json.hpp" for folder in HEADERS]
        found = self.find("nlohmann/json.hpp") is not None or any(place.is_file() for place in places)
        return found or can_import("nlohmann_json", self.path)

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
    command: list[str | Path] = ["cmake", "-S", ".", "-B", folder, "-G", "Ninja"]
    command += [f"-D{name}={value}" for name, value in options.items()]
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
    """Builds the kernels and all that gives figures; the C++ tests come with their own step."""
    if not given.has_json():
        places = ", ".join(str(folder) for folder in HEADERS)
        raise FailedError(
            f"expected nlohmann/json.hpp among what is carried (--wheels) or in {places}, found it nowhere"
        )
    started = time.monotonic()
    parts = given.optional_parts()
    reused = [target for target in targets_of(parts) if given.reuse and products(BUILD, target)]
    if reused == targets_of(parts):
        return {"reused": reused}
    options = {**given.options(), **kernel_options(given)}
    parts, left_out = configure_parts(options, parts, given)
    facts: Facts = {**options, **parts, "left_out": left_out}
    missing = [target for target in targets_of(parts) if target not in reused]
    try:
        if missing:
            make(BUILD, missing, 240, given)
    except FailedError as why:
        why.results = facts
        raise
    return {**facts, "seconds_to_build": round(time.monotonic() - started, 1)}


def targets_of(parts: dict[str, str]) -> list[str]:
    return [*BENCHES, *(target for part, target in OPTIONAL.items() if target and parts[part] == "ON")]


def configure_parts(
    options: dict[str, str], parts: dict[str, str], given: Given
) -> tuple[dict[str, str], dict[str, str]]:
    """Configures the kernels with as many of the optional parts as can be; returns these, and why the others cannot."""
    try:
        configure(BUILD, {**options, **parts}, given)
        return parts, {}
    except FailedError:
        pass
    left_out: dict[str, str] = {}
    kept = dict.fromkeys(parts, "OFF")
    configure(BUILD, {**options, **kept}, given)
    for part in (part for part, wanted in parts.items() if wanted == "ON"):
        try:
            configure(BUILD, {**options, **kept, part: "ON"}, given)
            kept[part] = "ON"
        except FailedError as why:
            left_out[part] = str(why)
    configure(BUILD, {**options, **kept}, given)
    return kept, left_out


def is_configured(part: str) -> bool:
    """Whether the kernels' build has an optional part."""
    cache = BUILD / "CMakeCache.txt"
    return cache.is_file() and f"{part}:BOOL=ON" in cache.read_text(encoding="utf-8").splitlines()


def built(name: str, folder: Path) -> Path:
    """A program that a build was to make."""
    found = next((path for path in products(folder, name) if os.access(path, os.X_OK)), None)
    if found is None:
        raise SkippedError(f"{name} was not built")
    return found


def gpu_tests(given: Given) -> Facts:
    """The tests labelled gpu, built here; a skipped one is a failure, for there is a GPU."""
    if reason := given.why_no_tests():
        raise SkippedError(reason)
    if not is_configured("STPL_RT_TESTS"):
        raise SkippedError("the build was not configured with tests: the step 'build' says why")
    if not (given.reuse and products(BUILD, TESTS)):
        make(BUILD, [TESTS], 240, given)
    return tested(built(TESTS, BUILD), BUILD, "gpu")


def tested(program: Path, folder: Path, label: str) -> Facts:
    """All tests of a program but those of a machine without a GPU, in one process: each would make CUDA's context anew.

    A fault can break the context for every test after it: where one fails, all run again, each in a process of its own.
    """
    out = folder / f"{program.name}.json"
    out.unlink(missing_ok=True)
    try:
        execute([program, "--gtest_filter=-WithoutGpu.*", f"--gtest_output=json:{out}"], 120)
    except FailedError as why:
        each: list[str | Path] = ["ctest", "--test-dir", folder, "-L", label, "-E", "WithoutGpu", "-j", "8"]
        execute([*each, "--output-on-failure"], 120)
        raise FailedError(f"in one process, though each passes by itself: {why}") from None
    suites = json.loads(out.read_text(encoding="utf-8"))["testsuites"]
    ends = [test["result"] for suite in suites for test in suite["testsuite"] if test["status"] == "RUN"]
    if skipped := ends.count("SKIPPED"):
        raise FailedError(f"{skipped} tests were skipped though there is a GPU")
    return {"passed": ends.count("COMPLETED"), "of": len(ends)}


def kernels() -> Facts:
    """Microseconds of every kernel."""
    return measured([built("stpl_rt_cuda_bench", BUILD)], BUILD / "kernels.json", 120)


def pipeline() -> Facts:
    """Microseconds of whole frames around a network that takes no time: in the GPU's memory and the host's."""
    return measured([built("stpl_rt_cuda_pipeline", BUILD)], BUILD / "pipeline.json", 90)


def carried_bundles(given: Given) -> list[Path]:
    bundles = sorted(manifest.parent for manifest in given.bundles.glob("*-f16/bundle/manifest.json"))
    if not bundles:
        raise SkippedError(f"expected bundles in {given.bundles} (--bundles), found none")
    return bundles


def python_plans(given: Given) -> Facts:
    """Plans with fp16 ends for the bundles: the runtime finds them, and builds without them float32 ones itself."""
    bundles = carried_bundles(given)
    environment = importing(stage_of_most(), given.packages)
    needs(*PLANS_NEED, **environment)
    command: list[str | Path] = [sys.executable, "benchmarks/gpu_plans.py", *bundles]
    return measured(command, BUILD / "gpu_plans.json", 90, **environment)


def pipeline_of_networks(given: Given) -> Facts:
    """The same around networks, by TensorRT: what a frame takes beside what its network takes alone."""
    program = built("stpl_rt_cuda_pipeline", WITH_TENSORRT)
    out = BUILD / "pipeline_of_networks.json"
    timed = {
        bundle.parent.name: partial(measured, [program, bundle, "f16"], out, 60) for bundle in carried_bundles(given)
    }
    return each_by_name(timed)


def pipeline_of_inductor(given: Given, with_tensorrt: Facts) -> Facts:
    """The same around the first network compiled by PyTorch, where TensorRT did not measure it: another real engine."""
    if with_tensorrt["status"] == "done":
        raise SkippedError("TensorRT's engine was measured in the step 'pipeline of networks'")
    program = built(INDUCTOR_PIPELINE, BUILD)
    bundle = first_bundle(given)
    needs(*INDUCTOR_NEEDS, **given.path)
    compiles: list[str | Path] = [sys.executable, "benchmarks/inductor_packages.py", bundle.parent]
    environment = {**importing(stage_of_most(), given.packages), **for_inductor()}
    frames: list[str | Path] = [program, bundle, "f16", FRAMES_OF_INDUCTOR]
    parts = {
        "packages": partial(measured, compiles, BUILD / "inductor_packages.json", 150, **environment),
        bundle.parent.name: partial(measured, frames, BUILD / "pipeline_of_inductor.json", 120),
    }
    return each_by_name(parts)


def for_inductor() -> dict[str, str]:
    """The environment in which PyTorch's compiler finds the toolkit of nvcc, and the driver's library to link with."""
    environment = {"CUDA_HOME": str(toolkit_of(find_nvcc()))}
    libraries = BUILD / "lib"
    driver = None if links("cuda") else driver_library()
    if driver is not None:  # the driver alone brings no libcuda.so, which is what -lcuda looks for
        libraries.mkdir(parents=True, exist_ok=True)
        link = libraries / "libcuda.so"
        link.unlink(missing_ok=True)
        link.symlink_to(driver)
        places = (str(libraries), os.environ.get("LIBRARY_PATH", ""))
        environment["LIBRARY_PATH"] = os.pathsep.join(filter(None, places))
    return environment


def toolkit_of(nvcc: str) -> Path:
    """Its root. What is on the path may be a script or a link: nvcc itself says where it lies."""
    said = ""
    with contextlib.suppress(FailedError):
        said = execute([nvcc, "--dryrun", "-c", "-x", "cu", "/dev/null", "-o", "/dev/null"], 30)
    top = re.search(r"^#\$ TOP=(.+)$", said, re.MULTILINE)
    return Path(top[1]).resolve() if top is not None else Path(nvcc).resolve().parent.parent


def links(library: str) -> bool:
    """Whether the linker finds it."""
    compiler = shutil.which("c++") or shutil.which("g++")
    out = BUILD / "links.so"
    try:
        execute([compiler or "c++", "-shared", "-o", out, f"-l{library}"], 30)
    except (FailedError, OSError):
        return False
    finally:
        out.unlink(missing_ok=True)
    return True


def driver_library() -> Path | None:
    """As the loader finds it, else where containers have it."""
    said = ""
    with contextlib.suppress(FailedError, OSError):
        said = execute([shutil.which("ldconfig") or "/sbin/ldconfig", "-p"], 30)
    listed = re.findall(r"\blibcuda\.so\.1 \(libc6,.*\) => (\S+)", said)  # without a comma, one for 32 bits
    places = [*map(Path, listed), *(folder / "libcuda.so.1" for folder in DRIVERS)]
    return next((place for place in places if place.is_file()), None)


def first_bundle(given: Given) -> Path:
    """The one of the largest frames: its network takes long enough for a ratio to mean something."""

    def pixels(bundle: Path) -> int:
        side = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["input"]
        return int(side["width"]) * int(side["height"])

    return max(carried_bundles(given), key=lambda bundle: (pixels(bundle), "segformer" in bundle.parent.name))


def each(parts: Mapping[str, Callable[[], Facts]]) -> Facts:
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


def each_by_name(parts: Mapping[str, Callable[[], Facts]]) -> Facts:
    """The same of parts whose facts go under their names."""

    def named(name: str, part: Callable[[], Facts]) -> Facts:
        try:
            return {name: part()}
        except FailedError as why:
            why.results = {name: why.results or {}}
            raise

    return each({name: partial(named, name, part) for name, part in parts.items()})


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
    if not can_import("tensorrt_rtx", path):
        raise SkippedError(
            "expected the Python package tensorrt_rtx, installed or as wheels in the folder of --wheels (STPL_WHEELS), "
            f"found it neither installed nor in {given.carried or 'any folder, for none is given'}"
        )
    needs("torch", "onnx", "onnxscript", "transformers", **path)

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
    module = [MODULE] if options["STPL_RT_PYTHON"] == "ON" else []
    tests = [TENSORRT_TESTS] if options["STPL_RT_TESTS"] == "ON" else []
    targets = ["stpl_rt_cuda_pipeline", *tests, *module]
    if not (given.reuse and all(products(WITH_TENSORRT, target) for target in targets)):
        configure(WITH_TENSORRT, options, given)
        make(WITH_TENSORRT, targets, 240, given)
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
    needs(*PYTHON_TESTS_NEED, **given.path)
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
    exports = can_import("openvino", given.path)
    rows = rows_of_users(given, exports)
    needs(*USERS_NEED, *(EXPORTS_NEED if exports else ()), **given.path)
    command: list[str | Path] = [sys.executable, "benchmarks/gpu_pipelines.py", "--bundles", given.bundles, *rows]
    return measured(command, BUILD / "gpu_pipelines.json", 240, **importing(stage_of_most(), given.packages))


def rows_of_users(given: Given, exports: bool) -> list[str]:
    """Which networks the users' pipelines run, as options: what is asked for, by default the largest alone.

    Where nothing can be exported, those of them that are carried.
    """
    carried = [] if exports else ["--carried"]
    if not exports and not any(given.bundles.glob("*-f16/bundle/manifest.json")):
        raise SkippedError(
            f"expected OpenVINO, to export bundles, or bundles in {given.bundles}, made elsewhere by "
            "benchmarks/gpu_pipelines.py --export-only; found neither"
        )
    if given.models or given.sizes:
        models = ["--models", *given.models] if given.models else []
        return [*models, *(["--sizes", *given.sizes] if given.sizes else []), *carried]
    if exports:
        return [*LARGEST_ROW, *FEW]
    model, size, _ = first_bundle(given).parent.name.rsplit("-", 2)
    return ["--models", model, "--sizes", size, *FEW, *carried]


def training_step(given: Given) -> Facts:
    """Time, memory and share of the bf16 limit of a step of STPL beside one of self-training."""
    needs(*TRAINING_NEEDS, **given.path)
    command: list[str | Path] = [sys.executable, "benchmarks/gpu_training_step.py"]
    return measured(command, BUILD / "gpu_training_step.json", 130, **importing(stage_of_most(), given.packages))


def bars(report: Facts) -> Facts:
    """Each bar that was measured, and whether it is met; a figure that is missing fails nothing."""
    rows = gpu_bars.bars(report)
    print(f"\n{gpu_bars.table(rows)}", flush=True)
    return rows


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
    return last_json(execute([sys.executable, "-c", code], 120))


Step = Callable[[Given, Facts], Facts]
STEPS: dict[str, Step] = {
    "wheels": lambda given, _: unpack(given.carried, reuse=given.reuse),
    "build": lambda given, _: build(given),
    "kernels": lambda given, _: kernels(),
    "pipeline": lambda given, _: pipeline(),
    "limits": lambda given, _: limits(),
    "rtx plan": lambda given, _: rtx_plan(given),
    "tensorrt engine": lambda given, _: tensorrt_engine(given),
    "python plans": lambda given, _: python_plans(given),
    "pipeline of networks": lambda given, _: pipeline_of_networks(given),
    "pipeline of inductor": lambda given, report: pipeline_of_inductor(
        given, report["steps"].get("pipeline of networks", {"status": "not run"})
    ),
    "training step": lambda given, _: training_step(given),
    "pipelines of users": lambda given, _: whole_pipelines(given),
    "tests": lambda given, _: gpu_tests(given),
    "python tests": lambda given, _: python_tests(given),
    "bars": lambda given, report: bars(report),
}
"""After the step 'gpu'. A build that fails in part leaves programs: what comes after it asks for those alone."""
WITHOUT_BUILD = {"gpu", "wheels", "limits", "rtx plan", "tensorrt engine", "bars"}


def chosen(named: Sequence[str]) -> dict[str, Step]:
    """All steps, or those named and what they need."""
    wanted = {"wheels", *named, *({"build"} if set(named) - WITHOUT_BUILD else ()), "bars"}
    return {name: step for name, step in STEPS.items() if name in wanted or not named}


def earlier_steps(folder: Path) -> Facts:
    """Of the report that a call for some steps adds to: the one in its folder, else the one beside what was built."""
    for file in (folder / REPORT, BUILD / REPORT):
        with contextlib.suppress(OSError, ValueError):
            steps = json.loads(file.read_text(encoding="utf-8"))["steps"]
            return {name: {**entry, "of_an_earlier_call": True} for name, entry in steps.items()}
    return {}


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
    """Of the code; STPL_COMMIT says it where there is no git, or no repository."""
    short = ""
    with contextlib.suppress(OSError):
        asked = ["git", "rev-parse", "--short", "HEAD"]
        short = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return short or os.environ.get("STPL_COMMIT", "unknown")


def save(report: Facts, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / REPORT
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
    parser.add_argument(
        "--models", nargs="+", default=[], help="of the users' pipelines (default: the largest row alone)"
    )
    parser.add_argument("--sizes", nargs="+", default=[], metavar="WxH", help="of the same")
    parser.add_argument(
        "--steps",
        nargs="+",
        choices=["gpu", *STEPS],
        default=[],
        metavar="NAME",
        help="run these alone and what they need, with what an earlier call built, and add to its report "
        f"({', '.join(STEPS)})",
    )
    return parser.parse_args()


def main() -> int:
    signal.signal(signal.SIGTERM, stop)
    arguments = parse()
    given = Given(arguments)
    report: Facts = {"commit": commit(), "python": sysconfig.get_python_version(), "steps": {}}
    given.gpu = run("gpu", the_gpu, report, after=()) or {}
    folder = arguments.out or folder_of(given.gpu)
    for build_folder in (BUILD, WITH_TENSORRT) if given.gpu and not given.reuse else ():  # the objects stay
        forget(build_folder, (*PROGRAMS, MODULE))
    if given.reuse:
        report["steps"] = earlier_steps(folder) | report["steps"]
    target = keep(report, folder, given)
    for name, step in chosen(arguments.steps).items():
        run(name, partial(step, given, report), report)
        target = keep(report, folder, given)
    print(target)
    ran = [entry for entry in report["steps"].values() if "of_an_earlier_call" not in entry]
    return int(any(entry["status"] == "failed" for entry in ran))


def keep(report: Facts, folder: Path, given: Given) -> Path:
    """In its folder, and beside what is built, which a later call for some steps goes on from."""
    if given.gpu:
        save(report, BUILD)
    return save(report, folder)


if __name__ == "__main__":
    sys.exit(main())
