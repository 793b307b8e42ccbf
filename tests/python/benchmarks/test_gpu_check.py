"""scripts/gpu_check.sh where there is no GPU: what it skips and why, and that its steps tell success from failure."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

STEPS = [
    *("gpu", "build", "tests", "kernels", "pipeline", "limits", "rtx plan", "tensorrt engine", "pipelines of users"),
    "training step",
]


@pytest.fixture
def check(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, building in a folder of the test's."""
    spec = importlib.util.spec_from_file_location("gpu_check", root / "scripts" / "gpu_check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(module, "WHEELS", tmp_path / "build" / "wheels")
    return module


def test_without_a_gpu_every_step_is_skipped_with_its_reason(root: Path, tmp_path: Path) -> None:
    # A folder of programs without nvidia-smi.
    (tmp_path / "bin").mkdir()
    for program in ("bash", "dirname", "git"):
        (tmp_path / "bin" / program).symlink_to(f"/usr/bin/{program}")
    environment = {"PATH": str(tmp_path / "bin"), "PYTHON": sys.executable}
    command = [str(root / "scripts" / "gpu_check.sh"), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = json.loads((tmp_path / "out" / "gpu_check.json").read_text())["steps"]
    assert list(steps) == STEPS
    for step in steps.values():
        assert step["status"] == "skipped"
    assert "nvidia-smi" in steps["gpu"]["reason"]
    assert steps["tests"]["reason"] == "comes after the step 'build', which was skipped"


@pytest.mark.parametrize("missing", ["", "openvino", "nanobind", "onnx"])
def test_what_it_asks_for_can_be_configured(
    missing: str, check: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    options = check.build_options()
    assert (options["STPL_RT_PYTHON"] == "ON") == (missing != "nanobind")
    words = ["cmake", "-S", str(root), "-B", str(tmp_path), *(f"-D{name}={value}" for name, value in options.items())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_step_has_no_more_time_than_all_together(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check.SECONDS < 8 * 60
    with pytest.raises(check.FailedError, match="not done after 1 s\nhalf"):
        check.execute(["bash", "-c", "echo half; sleep 20"], 1)
    with pytest.raises(check.FailedError, match="exit status 3\nwhy"):
        check.execute(["bash", "-c", "echo why >&2; exit 3"], 20)
    monkeypatch.setattr(check, "END", time.monotonic() + 2)
    with pytest.raises(check.FailedError, match="not done after 2 s"):
        check.execute(["sleep", "20"], 300)
    with pytest.raises(check.SkippedError, match="no time left"):
        check.execute(["true"], 300)


def test_the_steps_with_tensorrt_say_what_they_miss(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENSORRT_ROOT", raising=False)
    with pytest.raises(check.SkippedError, match=r"TENSORRT_ROOT .*found it unset"):
        check.tensorrt_engine(None)
    with pytest.raises(check.SkippedError, match=r"expected wheels \(\*.whl\) in .*, found none"):
        check.rtx_plan(tmp_path)


def test_packages_come_from_a_folder_of_wheels(check: ModuleType, tmp_path: Path) -> None:
    name = "of_a_test_alone"
    with zipfile.ZipFile(tmp_path / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.dist-info/RECORD", "")
    assert check.unpacked(None) is None
    assert not check.can_import(name, {})
    folder = check.unpacked(tmp_path)
    assert check.can_import(name, {"PYTHONPATH": str(folder)})


CTEST = """\
add_test(runs "true")
set_tests_properties(runs PROPERTIES LABELS "tensorrt")
add_test(WithoutGpu.Refuses "false")
set_tests_properties(WithoutGpu.Refuses PROPERTIES LABELS "tensorrt")
add_test(fails "false")
set_tests_properties(fails PROPERTIES LABELS "broken")
add_test(rests "false")
set_tests_properties(rests PROPERTIES LABELS "resting" SKIP_RETURN_CODE 1)
"""


def test_a_skipped_test_is_a_failure_where_there_is_a_gpu(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "CTestTestfile.cmake").write_text(CTEST)
    assert check.tested(tmp_path, "tensorrt", "--exclude-regex", "^WithoutGpu") == {"passed": 1, "of": 1}
    with pytest.raises(check.FailedError, match="exit status"):
        check.tested(tmp_path, "broken")
    with pytest.raises(check.FailedError, match="1 tests were skipped though there is a GPU"):
        check.tested(tmp_path, "resting")


def test_a_plan_without_a_compute_capability_is_built_and_said_to_be_untried(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU: scripts/gpu_check.sh runs the plan")
    out = tmp_path / "plan.json"
    command = [sys.executable, str(root / "benchmarks" / "rtx_plan.py"), "--json", str(out), "--size", "64x128"]
    done = subprocess.run(
        [*command, "--networks", "compact", "--precisions", "fp16"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["gpu"] is None
    assert found["compact fp16"]["plan_bytes"] > 100_000
    assert found["compact fp16"]["runs"] is None and "no GPU" in found["compact fp16"]["reason"]


def test_the_package_is_staged_with_the_module_of_the_build(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with one of those that the tests build, of other parts but of the same name."""
    build = tmp_path / "build"
    monkeypatch.setattr(check, "STAGE", tmp_path / "python")
    for folder, content in (("bindings", "ours"), ("tests/cpp/cuda/emulated", "emulated"), ("tests/cpp/bare", "bare")):
        (build / folder).mkdir(parents=True)
        (build / folder / "_core.of_a_test.so").write_text(content)
    stage = check.stage_package(build)
    assert (stage / "stpl_rt" / "_core.of_a_test.so").read_text() == "ours"
    assert (stage / "stpl" / "cli").is_dir()
    assert check.importing(stage, None)["PYTHONPATH"].split(":")[0] == str(stage)
    with pytest.raises(check.SkippedError, match="nanobind"):
        check.stage_package(build / "tests")
