"""Install PyTorch as constraints.txt pins it, as a CPU build.

Run: .venv/bin/python scripts/install_torch.py

Takes it from wherever pip finds a build without CUDA packages, else from PyTorch's own CPU index. Set
STPL_TORCH_INDEX to an index address to take it from there, whatever it brings (a CUDA build, say).
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# What a CUDA build of torch depends on; no CPU build does.
CUDA_PREFIXES = ("nvidia-", "cuda-", "triton", "pytorch-triton")

logger = logging.getLogger("install_torch")


def pinned_version() -> str:
    """Return the version of torch in constraints.txt."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("torch=="):
            return line.removeprefix("torch==").strip()
    raise SystemExit(f"{CONSTRAINTS}: expected a line torch==VERSION, found none")


def installed_version() -> str | None:
    """Return the installed version without its local part (+cpu), or None."""
    try:
        return metadata.version("torch").split("+")[0]
    except metadata.PackageNotFoundError:
        return None


def pip(*arguments: str, quiet: bool = False) -> bool:
    """Run pip; return whether it succeeded."""
    command = [sys.executable, "-m", "pip", "install", "--constraint", str(CONSTRAINTS), *arguments]
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, check=False, stdout=output, stderr=output).returncode == 0


def cuda_packages_of_default() -> list[str] | None:
    """Return the CUDA packages that pip's own choice of torch would bring; None where pip finds no torch."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        if not pip("torch", "--dry-run", "--report", str(report), quiet=True):
            return None
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    names = [entry["metadata"]["name"].lower() for entry in found]
    return [name for name in names if name.startswith(CUDA_PREFIXES)]


def main() -> int:
    """Install torch if it is missing; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    version = pinned_version()
    if installed_version() == version:
        return 0
    index = os.environ.get("STPL_TORCH_INDEX")
    if index:
        logger.info("torch %s from STPL_TORCH_INDEX", version)
        return 0 if pip("torch", "--index-url", index) else 1
    brought = cuda_packages_of_default()
    if brought == []:
        logger.info("torch %s from where pip finds it: a build without CUDA", version)
        return 0 if pip("torch") else 1
    why = "pip finds none" if brought is None else f"pip's own would bring {len(brought)} CUDA packages"
    logger.info("torch %s from %s: %s", version, CPU_INDEX, why)
    if pip("torch", "--index-url", CPU_INDEX):
        return 0
    logger.error(
        "torch %s could not be installed: %s, and %s did not give it. Set STPL_TORCH_INDEX to an index that has it, "
        "or install torch==%s into %s yourself, then run make again.",
        version, why, CPU_INDEX, version, sys.prefix,
    )  # fmt: skip
    return 1


if __name__ == "__main__":
    sys.exit(main())
