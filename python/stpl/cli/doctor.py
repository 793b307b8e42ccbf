"""``stpl-adapt doctor``: what is installed, what works, and what to install for the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

INSTRUCTION_SETS = ("sse4_2", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
MARKS = {True: "[green]ok[/green]", False: "[red]no[/red]", None: ""}
TRAIN_PACKAGES = {
    "torch": "torch",
    "kornia": "kornia",
    "safetensors": "safetensors",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "onnxruntime": "onnxruntime",
    "pydantic": "pydantic",
    "PIL": "pillow",
    "jinja2": "jinja2",
    "yaml": "pyyaml",
}
"""Module and distribution of what the training side needs beside the command line itself."""


@dataclass(frozen=True)
class Check:
    """One line of the answer.

    Attributes:
        name: what was looked at.
        works: None for what is only said, neither good nor bad.
        detail: what was found.
        remedy: what to do where it does not work.
        core: whether segmentation on this machine depends on it.
    """

    name: str
    works: bool | None
    detail: str
    remedy: str = ""
    core: bool = False


def doctor(
    data: Annotated[
        str | None, typer.Option("--data", metavar="SPEC", help="Also say what this data set lacks.")
    ] = None,
) -> None:
    """Says what works here, and what to install for the rest.

    Versions, processor, engines, GPU, video encoding, cameras; with --data also what a data set holds and lacks.

    Exit status 0 where the runtime works, 1 where it does not, 2 where the data set is not complete.

    \b
    Example:
      stpl-adapt doctor --data "cityscapes-seq:data/Cityscapes?split=val&classes=viper"
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    checks = [check() for check in CHECKS]
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in checks:
        remedy = f"\n[bold]{escape(check.remedy)}[/bold]" if check.remedy else ""
        table.add_row(MARKS[check.works], check.name, escape(check.detail) + remedy)
    console = Console()
    console.print(table)
    complete = data is None or _describe(data, console)
    broken = [check.name for check in checks if check.core and not check.works]
    if broken:
        console.print(f"the runtime does not work: {', '.join(broken)}")
        raise typer.Exit(1)
    if not complete:
        console.print(f"{data}: not complete", highlight=False, markup=False)
        raise typer.Exit(2)


def check_python() -> Check:
    """Interpreter and system."""
    good = sys.version_info[:2] >= (3, 10)
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("Python", good, detail, "" if good else "Python 3.10 or newer", core=True)


def check_processor() -> Check:
    """Model, cores this process may use, instruction sets that the kernels or the engine make use of."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key == "model name":
                model = value
            elif key in ("flags", "Features"):
                flags = set(value.split())
                break
    except OSError:
        pass  # not Linux
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = " ".join(name for name in INSTRUCTION_SETS if name in flags)
    return Check("processor", None, f"{model}, {cores} cores usable; {known or 'instruction sets unknown'}")


def check_runtime() -> Check:
    """The extension module, by running one of its kernels."""
    try:
        import numpy as np

        import stpl_rt

        logits = np.full((2, 2, 2), 0.5, np.float32)
        logits[1] = [0, 1]
        labels = stpl_rt.sample_argmax(logits, (4, 4))
        good = labels.tolist() == [[0, 0, 1, 1]] * 4
        return Check("stpl_rt", good, stpl_rt.__version__, "" if good else "reinstall stpl: wrong result", core=True)
    except (ImportError, RuntimeError) as error:
        return Check("stpl_rt", False, _one_line(error), "pip install .", core=True)


def check_engines() -> Check:
    """Inference engines of this build, and the OpenVINO that is installed."""
    try:
        import stpl_rt

        engines = stpl_rt.engines()
    except ImportError as error:
        return Check("engines", False, _one_line(error), "pip install .", core=True)
    named = ", ".join(engines) or "none: this build runs no network"
    detail = named + f" (openvino {_version('openvino') or 'missing'})"
    return Check("engines", bool(engines), detail, core=True)


def check_gpu() -> Check:
    """Whether PyTorch can train on a GPU."""
    if importlib.util.find_spec("torch") is None:
        return Check("GPU", None, "not looked for: PyTorch is missing")
    import torch

    if torch.cuda.is_available():
        return Check("GPU", None, f"{torch.cuda.get_device_name(0)}: used by training; {_runtime_on_gpu()}")
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
    return Check("GPU", None, f"none usable: PyTorch is {build}, NVIDIA driver {'found' if driver else 'not found'}")


def _runtime_on_gpu() -> str:
    """Whether the runtime of this build runs on GPUs, by its engines."""
    try:
        import stpl_rt

        engines = stpl_rt.engines()
    except ImportError:
        return "the runtime cannot be asked"
    if "tensorrt" in engines:
        return "and by the runtime, through TensorRT"
    has = ", ".join(engines) or "flow and kernels"
    return f"this build of the runtime has no engine for it ({has} alone): docs/tensorrt.md"


def check_tensorrt() -> Check:
    """TensorRT for ``stpl-adapt export --tensorrt``, by loading it."""
    try:
        from stpl.export.tensorrt_library import installed_flavours, load_tensorrt

        found = [load_tensorrt(flavour) for flavour in installed_flavours()]
    except (ImportError, ValueError) as error:  # UserError is one
        return Check("TensorRT", False, _one_line(error), "pip install 'stpl[tensorrt]'")
    detail = ", ".join(str(library) for library in found)
    optional = "not installed (optional: pip install 'stpl[tensorrt]' builds plans for NVIDIA GPUs, also without one)"
    return Check("TensorRT", True if found else None, f"{detail}, builds plans" if found else optional)


def check_training() -> Check:
    """The packages of the training side."""
    missing = [package for module, package in TRAIN_PACKAGES.items() if importlib.util.find_spec(module) is None]
    found = [package for package in TRAIN_PACKAGES.values() if package not in missing]
    detail = ", ".join(f"{package} {_version(package)}" for package in found)
    if missing:
        return Check("training", False, f"missing: {', '.join(missing)}", "pip install 'stpl[train]'")
    return Check("training", True, detail)


def check_video() -> Check:
    """PyAV, by encoding two frames as H.264."""
    if importlib.util.find_spec("av") is None:
        return Check("video", False, "PyAV is missing", "pip install 'stpl[video]'")
    try:
        import numpy as np

        from stpl_rt.video import VideoWriter, read_frames

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "two.mp4"
            with VideoWriter(path, fps=2) as writer:
                for grey in (64, 192):
                    writer.write(np.full((32, 48, 3), grey, np.uint8))
            count = sum(1 for _ in read_frames(path))
    except (ImportError, ValueError, OSError) as error:
        return Check("video", False, f"PyAV {_version('av')}: {_one_line(error)}", "pip install --upgrade av")
    return Check("video", count == 2, f"PyAV {_version('av')}, H.264 written and read")


def check_cameras() -> Check:
    """Video4Linux devices."""
    cameras = sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video[0-9]*"))
    return Check("cameras", None, ", ".join(f"camera:{number}" for number in cameras) or "none")


def check_ffmpeg() -> Check:
    """The program, which feeds ``stpl-segment``; nothing in Python needs it."""
    path = shutil.which("ffmpeg")
    return Check("ffmpeg", None, path or "not installed (optional: pipes video into stpl-segment)")


CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_processor,
    check_runtime,
    check_engines,
    check_training,
    check_video,
    check_gpu,
    check_tensorrt,
    check_cameras,
    check_ffmpeg,
)


def _describe(spec: str, console: Console) -> bool:
    """Prints what the data set holds and lacks; returns whether it is complete."""
    from rich.markup import escape
    from rich.table import Table

    from stpl.data.inspection import inspect

    findings = inspect(spec)
    table = Table(box=None, show_header=False, pad_edge=False, title=escape(spec), title_justify="left")
    for finding in findings:
        missing = f"\nmissing {len(finding.missing)}: {finding.examples}" if finding.missing else ""
        remedy = f"\n[bold]{escape(finding.remedy)}[/bold]" if finding.remedy else ""
        table.add_row(MARKS[finding.complete], finding.what, escape(finding.detail + missing) + remedy)
    console.print(table)
    return all(finding.complete is not False for finding in findings)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
