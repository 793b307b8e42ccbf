"""Where and when a benchmark ran, and its results as JSON under ``benchmarks/results/``."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from arithmetic import quickness

RESULTS = Path(__file__).parent / "results"
VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
PACKAGES = ("stpl", "torch", "openvino", "onnxruntime", "opencv-python-headless", "numpy")


def write_result(name: str, results: dict[str, Any], out: Path | None = None) -> Path:
    """Writes ``results`` with the machine, the commit and the command's date; returns the file."""
    path = out if out is not None else RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"name": name, "machine": machine(), "commit": COMMIT, "date": today(), "results": results})
    return path


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def tell(found: dict[str, Any], file: Path | None, *, last: bool) -> None:
    """What has been found so far, to ``file``; without one all of it, at the end, to standard output."""
    if file is not None:
        write_json(file, found)
    elif last:
        print(json.dumps(found, indent=1))


def machine() -> dict[str, Any]:
    """Processor, how fast and even it is now, cores this process may use, system, Python, the libraries that matter."""
    return {
        "processor": _cpuinfo("model name") or platform.processor() or "unknown",
        "vectors": _vectors((_cpuinfo("flags") or _cpuinfo("Features")).split()),
        "arithmetic": quickness(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def commit() -> str:
    """Short hash of the commit that ran, with ``+changes`` where the tree differs from it."""
    root = Path(__file__).parent.parent
    try:
        short = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
        tracked = ["git", "diff", "--quiet", "HEAD", "--", ".", ":!benchmarks/results", ":!BENCHMARKS.md"]
        changed = subprocess.run(tracked, cwd=root, check=False).returncode
        return short + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def today() -> str:
    """Date in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def _cpuinfo(field: str) -> str:
    """Of the first core; empty where the system does not say."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(field):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""


def _vectors(flags: list[str]) -> str:
    """The widest of the instruction sets that kernels are compiled for."""
    return next((name for flag, name in VECTORS.items() if flag in flags), "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


COMMIT = commit()
"""Of the code that runs: asked for once, at the start, whatever is committed in the meantime."""
