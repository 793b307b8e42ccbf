"""The package: pins that must agree, and the import's own errors."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stpl_rt
from stpl_rt import _openvino

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Plain imports of a folder's package, without the finder of an editable installation.
ISOLATE = "import sys; sys.meta_path = [f for f in sys.meta_path if 'ScikitBuild' not in type(f).__name__]\n"


def run_python(code: str, python: Path | str = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_openvino_is_pinned_alike_for_build_and_run() -> None:
    pin = f"openvino=={_openvino.REQUIRED}"
    assert pin in PYPROJECT["build-system"]["requires"]
    assert pin in PYPROJECT["project"]["dependencies"]


def test_versions_agree() -> None:
    version = PYPROJECT["project"]["version"]
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f"VERSION {version} " in cmake
    assert stpl_rt.__version__ == version


def test_every_source_file_is_built() -> None:
    lists = [ROOT / "CMakeLists.txt", ROOT / "bindings/CMakeLists.txt", *(ROOT / "cmake").glob("*.cmake")]
    built = "\n".join(path.read_text(encoding="utf-8") for path in lists)
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "cpp").rglob("*.cpp")]
    sources += [path.name for path in (ROOT / "bindings").glob("*.cpp")]
    assert len(sources) > 30
    assert [source for source in sources if source not in built] == []


def test_torch_is_pinned_and_the_runtime_does_not_want_it() -> None:
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = {re.split(r"[<>=!~;\[ ]", line)[0] for line in PYPROJECT["project"]["dependencies"]}
    assert names == {"numpy", "openvino"}


def test_everything_exported_exists_and_is_documented() -> None:
    for name in stpl_rt.__all__:
        value = getattr(stpl_rt, name)
        assert name == "__version__" or value.__doc__, name
    assert stpl_rt.engines() == ["openvino"]


def test_the_committed_stub_is_that_of_the_module(tmp_path: Path) -> None:
    fresh = tmp_path / "_core.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "stpl_rt._core"]
    subprocess.run([*command, "-p", str(ROOT / "bindings/stub.pat"), "-o", str(fresh)], check=True)
    committed = ROOT / "python/stpl_rt/_core.pyi"
    assert fresh.read_text() == committed.read_text(), "run: make stub"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("raise m.PackageNotFoundError(name)", "which is not installed; run: python -m pip install openvino=="),
        ("return '2024.0.0'", "found 2024.0.0; run: python -m pip install openvino=="),
    ],
)
def test_without_the_right_openvino_the_import_says_what_to_install(patch: str, message: str) -> None:
    run = run_python(f"import importlib.metadata as m\ndef version(name): {patch}\nm.version = version\nimport stpl_rt")
    assert run.returncode == 1
    assert "ImportError: stpl_rt" in run.stderr
    assert message in run.stderr


def test_openvino_in_another_folder_is_found(tmp_path: Path) -> None:
    core = importlib.util.find_spec("stpl_rt._core")
    assert core is not None
    assert core.origin is not None
    package = shutil.copytree(ROOT / "python/stpl_rt", tmp_path / "stpl_rt")
    shutil.copy(core.origin, package)
    run = run_python(ISOLATE + "import stpl_rt; print(stpl_rt.__file__, stpl_rt.engines())", PYTHONPATH=str(tmp_path))
    assert run.stdout.strip() == f"{package / '__init__.py'} ['openvino']", run.stderr
