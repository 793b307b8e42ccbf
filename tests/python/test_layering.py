"""The arrows of the house: who may know whom, over C++ includes and Python imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A folder may include only from folders of a lower number, and from itself.
CXX_LAYERS = {"core": 0, "text": 1, "ops": 1, "flow": 2, "engine": 3, "bundle": 3, "segmenter": 4}
CXX_LAYERS |= {"bindings": 5, "c_api": 5, "cli": 5}
# A module or package may import only from the same or a lower number.
PYTHON_LAYERS = {
    **dict.fromkeys(("errors", "config", "validation", "timing"), 0),
    **dict.fromkeys(("data", "models", "metrics"), 1),
    "method": 2,
    "train": 3,
    **dict.fromkeys(("export", "report", "evaluate", "benchmark"), 4),
    **dict.fromkeys(("demo", "cli"), 5),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCE_SUFFIXES = {".h", ".cpp", ".cu", ".cuh", ".c"}


def cxx_files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in SOURCE_SUFFIXES)


def includes(path: Path) -> Iterator[str]:
    for match in INCLUDE.finditer(path.read_text(encoding="utf-8")):
        yield match[2]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside functions, as absolute dotted names."""
    package = path.relative_to(ROOT / "python").parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            # `from stpl import data` names a layer in the list of names.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def python_files(package: str) -> list[Path]:
    return sorted((ROOT / "python" / package).rglob("*.py"))


def cxx_faults(path: Path, layer: str) -> list[str]:
    faults = []
    for name in includes(path):
        target = name.split("/")[0]
        if "/" not in name or target not in CXX_LAYERS or target == layer:
            continue
        if CXX_LAYERS[target] >= CXX_LAYERS[layer]:
            faults.append(f"{path.relative_to(ROOT)} ({layer}) includes {name}")
    return faults


def test_cxx_folders_are_all_in_a_layer() -> None:
    folders = {path.name for path in (ROOT / "cpp").iterdir() if path.is_dir()}
    assert folders | {"bindings"} == set(CXX_LAYERS)


def test_cxx_includes_point_down() -> None:
    files = [(path, path.relative_to(ROOT / "cpp").parts[0]) for path in cxx_files("cpp")]
    files += [(path, "bindings") for path in cxx_files("bindings")]
    assert len(files) > 20
    assert [fault for path, layer in files for fault in cxx_faults(path, layer)] == []


def test_an_include_that_points_up_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "bad.h"
    path.write_text('#include "segmenter/frame_buffer.h"\n#include "core/image.h"\n#include <vector>\n')
    assert cxx_faults(path, "ops") == ["bad.h (ops) includes segmenter/frame_buffer.h"]


def test_public_headers_include_only_each_other_and_the_standard_library() -> None:
    for path in cxx_files("include"):
        for name in includes(path):
            # Standard headers have no ending and no folder; the C interface takes C's own.
            assert name.startswith("stpl_rt/") or name in {"stddef.h", "stdint.h"} or re.fullmatch(r"[a-z_]+", name), (
                f"{path.relative_to(ROOT)} includes {name}"
            )


def layer_of(module: str) -> str | None:
    """The part of stpl that a dotted name belongs to; None for the package itself and for everything else."""
    parts = module.split(".")
    return parts[1] if parts[0] == "stpl" and len(parts) > 1 else None


def test_python_modules_are_all_in_a_layer() -> None:
    entries = (ROOT / "python" / "stpl").iterdir()
    names = {path.stem for path in entries if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names - {"__init__", "__main__"} <= set(PYTHON_LAYERS)


def test_python_imports_point_down() -> None:
    faults = []
    for path in python_files("stpl"):
        own = path.relative_to(ROOT / "python" / "stpl").parts[0].removesuffix(".py")
        if own in {"__init__", "__main__"}:
            continue
        for module in imports(path):
            target = layer_of(module)
            if target in PYTHON_LAYERS and PYTHON_LAYERS[target] > PYTHON_LAYERS[own]:
                faults.append(f"{path.relative_to(ROOT)} ({own}) imports {module}")
    assert faults == []


def test_the_runtime_imports_neither_torch_nor_the_training_side() -> None:
    files = python_files("stpl_rt")
    assert len(files) >= 4
    faults = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imports(path)
        if module.split(".")[0] in {"torch", "stpl", "kornia", "onnx"}
    ]
    assert faults == []


def test_importing_the_runtime_loads_neither_torch_nor_the_training_side() -> None:
    code = (
        "import sys, stpl_rt, stpl_rt.overlay, stpl_rt.video\n"
        "print(sorted({'torch', 'stpl', 'av', 'openvino'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr
