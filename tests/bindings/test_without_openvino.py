"""stpl_rt in a build without an engine for the CPU, where OpenVINO is not installed: flow and kernels for training."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import stpl_rt

ROOT = Path(__file__).resolve().parents[2]
BARE = ROOT / "build/cmake/tests/cpp/bare"

# As where OpenVINO was never installed; and plain imports of a folder's package, without the finder of an editable one.
WITHOUT = """
import sys, importlib.metadata
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "openvino":
            raise ModuleNotFoundError(name)
sys.meta_path = [Missing(), *(f for f in sys.meta_path if "ScikitBuild" not in type(f).__name__)]
version = importlib.metadata.version
def none_of_openvino(name):
    if name == "openvino":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = none_of_openvino
"""


def run_without_openvino(folder: Path, code: str, *arguments: Path) -> str:
    """What ``code`` prints, with the package of ``folder``."""
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def bare_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stpl_rt around the module that was built without OpenVINO."""
    modules = sorted(BARE.glob("_core*.so"))
    if not modules:
        pytest.skip("needs the build tree that `make test` makes in build/cmake")
    folder = tmp_path_factory.mktemp("bare")
    shutil.copytree(ROOT / "python/stpl_rt", folder / "stpl_rt", ignore=shutil.ignore_patterns("_core*.so"))
    shutil.copy2(modules[0], folder / "stpl_rt")
    return folder


def test_the_module_wants_no_openvino_and_has_no_engine(bare_package: Path) -> None:
    said = run_without_openvino(
        bare_package,
        "import stpl_rt\n"
        "maps = open('/proc/self/maps').read()\n"
        "print(stpl_rt.engines(), 'openvino' in maps, 'openvino' in sys.modules, stpl_rt.__file__)",
    )
    assert said.strip() == f"[] False False {bare_package / 'stpl_rt/__init__.py'}"


def test_flow_and_kernels_give_the_same(
    bare_package: Path, test_bundle: Path, moving_picture: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    frames = np.stack(list(moving_picture)[:2])
    np.save(tmp_path / "frames.npy", frames)
    run_without_openvino(
        bare_package,
        "import numpy as np, stpl_rt\n"
        "spec = stpl_rt.Bundle.open(sys.argv[1]).input\n"
        "now, past = (stpl_rt.luma(frame, spec) for frame in np.load(sys.argv[2]))\n"
        "flow = stpl_rt.DisFlow(threads=1)(now, past)\n"
        "np.savez(sys.argv[3], now=now, flow=flow, valid=stpl_rt.flow_validity(now, past, flow))",
        test_bundle,
        tmp_path / "frames.npy",
        tmp_path / "found.npz",
    )
    now, past = (stpl_rt.luma(frame, stpl_rt.Bundle.open(test_bundle).input) for frame in frames)
    flow = stpl_rt.DisFlow(threads=1)(now, past)
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_array_equal(found["now"], now)
    np.testing.assert_array_equal(found["flow"], flow)
    np.testing.assert_array_equal(found["valid"], stpl_rt.flow_validity(now, past, flow))


def test_a_network_is_refused_with_what_to_do(bare_package: Path, test_bundle: Path) -> None:
    said = run_without_openvino(
        bare_package,
        "import stpl_rt\n"
        "bundle = stpl_rt.Bundle.open(sys.argv[1])\n"
        "print([info.name for info in bundle.classes])\n"
        "try: stpl_rt.Segmenter(bundle)\n"
        "except stpl_rt.Error as error: print(error.code, error)",
        test_bundle,
    )
    names, error = said.strip().splitlines()
    assert names == str([info.name for info in stpl_rt.Bundle.open(test_bundle).classes])
    assert error.startswith("unsupported ")
    assert "was built without OpenVINO" in error
    assert "-DSTPL_RT_OPENVINO=ON" in error
