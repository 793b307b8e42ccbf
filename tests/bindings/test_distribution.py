"""The source distribution and the wheel: what is in them, and the wheel where nothing else is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHOLE = "stpl-0.1.0-cp312-abi3-manylinux_2_28_x86_64.whl"


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    """scripts/check_distribution.py."""
    spec = importlib.util.spec_from_file_location("check_distribution", ROOT / "scripts/check_distribution.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.packaging
@pytest.mark.timeout(2400)
def test_the_wheel_is_made_from_the_source_distribution_and_segments_where_nothing_else_is(tmp_path: Path) -> None:
    run = subprocess.run(
        [ROOT / "scripts/wheel.sh", tmp_path / "dist"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(path.suffix for path in (tmp_path / "dist").iterdir()) == [".gz", ".whl"]


def make_wheel(
    checker: ModuleType, path: Path, *, without: str = "", add: str = "", requires: str = "openvino"
) -> Path:
    """An archive with the names of a whole wheel."""
    names = checker.package_files() | checker.LICENSES | {"stpl_rt/_core.abi3.so"}
    names |= {f"stpl-0.1.0.dist-info/{name}" for name in checker.DIST_INFO}
    with zipfile.ZipFile(path, "w") as archive:
        for name in (names | {add}) - {without, ""}:
            archive.writestr(name, f"Requires-Dist: numpy>=1\nRequires-Dist: {requires}==1\n")
    return path


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"without": "stpl_rt/py.typed"}, "stpl_rt/py.typed is missing"),
        ({"without": "stpl_rt/_core.abi3.so"}, "expected one extension module"),
        ({"without": "stpl-0.1.0.dist-info/licenses/LICENSE"}, "LICENSE is missing"),
        ({"without": "stpl_rt/licenses/nanobind.txt"}, "nanobind.txt is missing"),
        ({"add": "tests/conftest.py"}, "tests/conftest.py should not be there"),
        ({"add": "stpl.libs/libopenvino.so"}, "stpl.libs/libopenvino.so should not be there"),
        ({"add": "stpl_rt/_core.cpython-311-x86_64-linux-gnu.so"}, "expected one extension module"),
        ({"requires": "torch"}, "torch should not be there"),
    ],
)
def test_a_wheel_with_other_content_is_refused(
    checker: ModuleType, tmp_path: Path, change: dict[str, str], fault: str
) -> None:
    assert checker.wheel_faults(make_wheel(checker, tmp_path / WHOLE)) == []
    assert fault in "\n".join(checker.wheel_faults(make_wheel(checker, tmp_path / WHOLE, **change)))


def test_a_wheel_for_this_system_alone_is_refused(checker: ModuleType, tmp_path: Path) -> None:
    wheel = make_wheel(checker, tmp_path / "stpl-0.1.0-cp312-abi3-linux_x86_64.whl")
    assert "manylinux" in "\n".join(checker.wheel_faults(wheel))


def test_a_source_distribution_with_other_content_is_refused(checker: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "stpl-0.1.0.tar.gz"
    names = {f"python/{name}" for name in checker.package_files()}
    names |= {f"{name}/file" for name in checker.SDIST_TOP - {"python"}}
    for without, added, fault in [
        ("", "", ""),
        ("cpp/file", "", "cpp is missing"),
        ("python/stpl_rt/py.typed", "", "py.typed is missing"),
        ("", "runs/log", "runs should not be there"),
    ]:
        with tarfile.open(path, "w:gz") as archive:
            for name in (names | {added}) - {without, ""}:
                archive.addfile(tarfile.TarInfo(f"stpl-0.1.0/{name}"))
        faults = "\n".join(checker.sdist_faults(path))
        assert fault in faults and bool(faults) == bool(fault), faults
