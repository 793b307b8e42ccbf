"""A copy of the code that runs execute, made when a command begins: editing the package meanwhile changes no run."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

FROZEN = ("benchmarks/*.py", "python/stpl/**/*.py", "models/*.yaml", "cpp/core/*", "cpp/flow/*", "cpp/ops/*")


def freeze(root: Path, out: Path) -> Path:
    """Copies the project's code from ``root`` to a folder under ``out`` named by its contents; returns that folder."""
    files = {file.relative_to(root): file.read_bytes() for file in _files(root)}
    sha = hashlib.sha256()
    for name, content in sorted(files.items()):
        sha.update(f"{name}\n{len(content)}\n".encode() + content)
    copy = out / ".code" / sha.hexdigest()[:16]
    if copy.is_dir():
        return copy
    temporary = copy.with_name(f"{copy.name}.{os.getpid()}.part")
    for name, content in files.items():
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).write_bytes(content)
    try:
        temporary.rename(copy)
    except OSError:  # another process was faster
        shutil.rmtree(temporary)
    return copy


def run_frozen_package(root: Path) -> None:
    """Makes ``import stpl`` find the copy under ``root``, whatever else is installed; before any import of it."""
    folder = root / "python"
    if (folder / "stpl").is_dir():
        sys.path.insert(0, str(folder))
        sys.meta_path.insert(0, PathFinder)  # an editable installation's finder would come before sys.path


def _files(root: Path) -> Iterator[Path]:
    for pattern in FROZEN:
        yield from (file for file in root.glob(pattern) if file.is_file() and "__pycache__" not in file.parts)
