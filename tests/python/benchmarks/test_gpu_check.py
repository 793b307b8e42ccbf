"""scripts/gpu_check.sh where there is no GPU: what it skips and why, and that its steps tell success from failure."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

STEPS = [
    *("gpu", "wheels", "build", "kernels", "pipeline", "limits", "rtx plan", "tensorrt engine", "python plans"),
    *("pipeline of networks", "pipeline of inductor", "training step", "pipelines of users"),
    *("tests", "python tests", "bars"),
]


@pytest.fixture
def check(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, building in a folder of the test's."""
    spec = importlib.util.spec_from_file_location("gpu_check", root / "scripts" / "gpu_check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(root / "scripts")
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BUILD", tmp_path / "build")
    monkeypatch.setattr(module, "WHEELS", tmp_path / "build" / "wheels")
    monkeypatch.setattr(module, "WITH_TENSORRT", tmp_path / "build" / "tensorrt")
    (tmp_path / "build").mkdir()
    return module


def given_to(check: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", *words])
    return check.Given(check.parse())


def write_wheel(folder: Path, name: str, tag: str = "py3-none-any") -> Path:
    """Of a package that holds nothing."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}-1-{tag}.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{name}-1.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{name}-1.dist-info/RECORD", "")
    return file


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
    assert steps["build"]["reason"] == "comes after the step 'gpu', which was skipped"


@pytest.mark.parametrize("missing", ["", "openvino", "onnx"])
def test_what_it_asks_for_can_be_configured(
    missing: str, check: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = check.can_import
    monkeypatch.setattr(check, "can_import", lambda name, where: name != missing and find(name, where))
    options = given_to(check, monkeypatch).options()
    assert (options["STPL_RT_OPENVINO"] == "ON") == (missing != "openvino")
    assert (options["STPL_RT_TESTS"] == "ON") == (missing != "onnx")
    words = ["cmake", "-S", str(root), "-B", str(tmp_path), *(f"-D{name}={value}" for name, value in options.items())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/usr/src/googletest").is_dir(), reason="no sources of GoogleTest here")
def test_sources_of_googletest_are_taken_from_where_gtest_root_says(
    check: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "carried").symlink_to("/usr/src")
    monkeypatch.setenv("GTEST_ROOT", str(tmp_path / "carried" / "googletest"))
    options = {**given_to(check, monkeypatch).options(), "STPL_RT_OPENVINO": "OFF"}
    words = ["cmake", "-S", str(root), "-B", str(tmp_path / "made"), *(f"-D{k}={v}" for k, v in options.items())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made" / "googletest" / "googletest").is_dir()


def test_a_step_has_no_more_time_than_all_together(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check.SECONDS < 8 * 60
    with pytest.raises(check.FailedError, match="not done after 1 s\nhalf"):
        check.execute(["bash", "-c", "echo half; sleep 20"], 1)
    with pytest.raises(check.FailedError, match="exit status 3\nwhy"):
        check.execute(["bash", "-c", "echo why >&2; exit 3"], 20)
    monkeypatch.setattr(check, "END", time.monotonic() + 3)
    with pytest.raises(check.FailedError, match=r"not done after [123] s"):
        check.execute(["sleep", "20"], 300)
    with pytest.raises(check.SkippedError, match="no time left"):
        check.execute(["true"], 300)


def test_programs_beside_the_interpreter_are_found(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHON may name one whose folder is not on the path."""
    program = tmp_path / "bin" / "program_of_a_test"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    assert check.execute(["program_of_a_test"], 20) == "found\n"


def test_the_steps_with_tensorrt_say_what_they_miss(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENSORRT_ROOT", raising=False)
    given = given_to(check, monkeypatch, "--wheels", str(tmp_path))
    with pytest.raises(check.SkippedError, match=r"TENSORRT_ROOT .*found it unset"):
        check.tensorrt_engine(given)
    monkeypatch.setattr(check, "can_import", lambda name, where: name != "tensorrt_rtx")
    with pytest.raises(check.SkippedError, match="expected the Python package tensorrt_rtx"):
        check.rtx_plan(given)
    with pytest.raises(check.SkippedError, match="stpl_rt_cuda_pipeline was not built"):
        check.pipeline_of_networks(given)


def test_pytorch_s_engine_is_measured_where_tensorrt_was_not(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = given_to(check, monkeypatch, "--bundles", str(tmp_path))
    with pytest.raises(check.SkippedError, match="TensorRT's engine was measured"):
        check.pipeline_of_inductor(given, {"status": "done"})
    with pytest.raises(check.SkippedError, match="stpl_rt_inductor_pipeline was not built"):
        check.pipeline_of_inductor(given, {"status": "skipped"})
    program = check.BUILD / check.INDUCTOR_PIPELINE
    program.touch(0o755)
    with pytest.raises(check.SkippedError, match="expected bundles in"):
        check.pipeline_of_inductor(given, {"status": "skipped"})
    for name, width in (("pidnet-s-a-f16", 512), ("pidnet-s-b-f16", 1024), ("segformer-b1-b-f16", 1024)):
        (tmp_path / name / "bundle").mkdir(parents=True)
        manifest = {"input": {"width": width, "height": width // 2}}
        (tmp_path / name / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    assert check.first_bundle(given).parent.name == "segformer-b1-b-f16"
    # What the packages took stays where the program fails.
    asked = []

    def measured(command: list[Any], out: Path, limit: float, **environment: str) -> dict[str, Any]:
        asked.append([str(word) for word in command])
        if command[0] == program:
            raise check.FailedError("exit status 1", {"1024x512": {"network alone": {"p50_us": 9}}})
        assert "CUDA_HOME" in environment
        return {"seconds_to_compile": 3}

    monkeypatch.setattr(check, "measured", measured)
    monkeypatch.setattr(check, "unusable", lambda modules, where: {})
    monkeypatch.setattr(check, "stage_of_most", lambda: tmp_path)
    monkeypatch.setattr(check, "for_inductor", lambda: {"CUDA_HOME": "/of/a/test"})
    with pytest.raises(check.FailedError, match=r"^segformer-b1-b-f16: exit status 1$") as caught:
        check.pipeline_of_inductor(given, {"status": "skipped"})
    rows = {"1024x512": {"network alone": {"p50_us": 9}}, "failed": "exit status 1"}
    assert caught.value.results == {"packages": {"seconds_to_compile": 3}, "segformer-b1-b-f16": rows}
    assert asked[1] == [str(program), str(tmp_path / "segformer-b1-b-f16" / "bundle"), "f16", "20"]


def test_a_plan_that_breaks_its_process_fails_the_step_and_leaves_the_others(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that TensorRT refuses is a finding."""
    (tmp_path / "carried").mkdir()
    (tmp_path / "carried" / "segformer-b0-fp16-1024x512.plan").touch()
    broken = ""
    asked = []

    def measured(command: list[object], out: Path, limit: float, **environment: str) -> dict[str, Any]:
        words = [str(word) for word in command]
        name = f"{words[words.index('--networks') + 1]} {words[words.index('--precisions') + 1]}"
        asked.append(words[words.index("--plans") + 1] if "--plans" in words else None)
        found: dict[str, Any] = {"torch": "2", name: {"capability unset": {"runs": False, "reason": "refused"}}}
        if name == broken:
            raise check.FailedError("exit status -11", found)
        return found

    monkeypatch.setattr(check, "measured", measured)
    monkeypatch.setattr(check, "can_import", lambda name, where: True)
    monkeypatch.setattr(check, "unusable", lambda modules, where: {})
    given = given_to(check, monkeypatch, "--wheels", str(tmp_path / "carried"))
    names = {f"{network} {precision}" for network, precision in check.PLANS}
    assert check.rtx_plan(given).keys() == {"torch", *names}
    assert asked == [None, None, None, str(tmp_path / "carried")]
    broken = "compact fp16"
    with pytest.raises(check.FailedError, match=r"^compact fp16: exit status -11$") as caught:
        check.rtx_plan(given)
    assert caught.value.results.keys() == {"torch", *names}
    broken_facts = caught.value.results[broken]
    assert broken_facts["failed"] == "exit status -11" and "capability unset" in broken_facts
    monkeypatch.setattr(check, "unusable", lambda modules, where: {"transformers": "not installed"})
    with pytest.raises(check.SkippedError, match=r"cannot import transformers \(not installed\)"):
        check.rtx_plan(given)


def test_plans_for_the_runtime_have_fp16_ends(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    from stpl.export import export_bundle
    from stpl.export.lowering import Lowering
    from stpl.train.checkpoint import load_checkpoint

    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    lowering = Lowering("fp16", [(frame, None)], max_loss=1.0)
    source = load_checkpoint(root / "models" / "street-day")
    bundle = export_bundle(source, tmp_path / "half", [frame], size=(64, 96), lowering=lowering).bundle
    out = tmp_path / "plans.json"
    command = [sys.executable, str(root / "benchmarks" / "gpu_plans.py"), str(bundle), "--json", str(out)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (facts,) = json.loads(out.read_text())[str(bundle)].values()
    assert facts["built"] and set(facts["tensors"].values()) == {"float16"}
    assert list((tmp_path / "cache" / "stpl" / "plans").rglob(facts["file"]))


def test_packages_come_from_a_folder_of_wheels(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some in pieces; one that does not fit is said, and leaves the others."""
    import pieces

    carried = tmp_path / "carried"
    names = ("of_a_test", "of_pieces")
    for name in names:
        write_wheel(carried, name)
    write_wheel(carried, "of_another", "cp27-cp27m-win32")
    split = carried / "of_pieces-1-py3-none-any.whl"
    assert len(pieces.split(split, 100)) > 3
    split.unlink()
    given = given_to(check, monkeypatch, "--wheels", str(carried))
    assert given.packages is None and not check.can_import("of_a_test", given.path)
    with pytest.raises(check.FailedError, match="of_another") as caught:
        check.unpack(given.carried)
    assert caught.value.results["wheels"] == [f"{name}-1-py3-none-any.whl" for name in names]
    assert all(check.can_import(name, given.path) for name in names)
    with pytest.raises(check.SkippedError, match="--wheels"):
        check.unpack(None)


def test_what_is_carried_reaches_cmake(check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carried = tmp_path / "carried"
    header = carried / "json" / "include" / "nlohmann" / "json.hpp"
    sources = carried / "googletest-1.15.2" / "googletest" / "CMakeLists.txt"
    for file in (header, sources):
        file.parent.mkdir(parents=True)
        file.write_text("")
    monkeypatch.delenv("GTEST_ROOT", raising=False)
    options = given_to(check, monkeypatch, "--wheels", str(carried)).options()
    assert options["STPL_RT_JSON_INCLUDE_DIR"] == str(header.parent.parent)
    assert options["GTEST_ROOT"] == str(sources.parent.parent)
    monkeypatch.setenv("GTEST_ROOT", str(tmp_path))
    assert given_to(check, monkeypatch).options()["GTEST_ROOT"] == str(tmp_path)
    # Packages of wheels are seen by CMake's Python.
    write_wheel(carried, "of_a_test")
    given = given_to(check, monkeypatch, "--wheels", str(carried))
    check.unpack(given.carried)
    said: dict[str, str] = {}
    monkeypatch.setattr(check, "execute", lambda command, limit, **environment: said.update(environment))
    check.configure(tmp_path, {}, given)
    assert said["PYTHONPATH"].split(":")[0] == str(check.WHEELS)


PROGRAM = """\
#!/bin/bash
for word; do [[ "$word" == --gtest_output=json:* ]] && out="${word#*json:}"; done
[[ "$1" == "--gtest_filter=-WithoutGpu.*" ]] || exit 5
echo '{"testsuites": [{"testsuite": [{"status": "RUN", "result": "COMPLETED"}, {"status": "RUN", "result": "%s"},
  {"status": "NOTRUN", "result": "SUPPRESSED"}]}]}' >"$out"
exit %d
"""
CTEST = """\
add_test(gpu.Passes "true")
set_tests_properties(gpu.Passes PROPERTIES LABELS "gpu;broken")
add_test(gpu.WithoutGpu.Refuses "false")
set_tests_properties(gpu.WithoutGpu.Refuses PROPERTIES LABELS "gpu")
add_test(gpu.Fails "false")
set_tests_properties(gpu.Fails PROPERTIES LABELS "broken")
"""


def test_the_tests_run_in_one_process_and_none_is_skipped(check: ModuleType, tmp_path: Path) -> None:
    program = tmp_path / "tests_of_a_gpu"

    def write(result: str, status: int) -> Path:
        program.write_text(PROGRAM % (result, status))
        program.chmod(0o755)
        return program

    (tmp_path / "CTestTestfile.cmake").write_text(CTEST)
    assert check.tested(write("COMPLETED", 0), tmp_path, "gpu") == {"passed": 2, "of": 2}
    with pytest.raises(check.FailedError, match="1 tests were skipped though there is a GPU"):
        check.tested(write("SKIPPED", 0), tmp_path, "gpu")
    with pytest.raises(check.FailedError, match=r"each passes by itself: exit status 1"):
        check.tested(write("COMPLETED", 1), tmp_path, "gpu")
    with pytest.raises(check.FailedError, match=r"gpu\.Fails"):
        check.tested(write("COMPLETED", 1), tmp_path, "broken")


def test_openvino_of_a_carried_wheel_is_built_with_and_found_at_run_time(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("openvino")
    assert spec is not None and spec.submodule_search_locations
    check.WHEELS.mkdir()
    (check.WHEELS / "openvino").symlink_to(spec.submodule_search_locations[0])
    given = given_to(check, monkeypatch, "--wheels", str(tmp_path))
    folder = tmp_path / "made"
    check.configure(folder, given.options(), given)
    assert f"OpenVINO_DIR:PATH={check.WHEELS}/openvino/cmake\n" in (folder / "CMakeCache.txt").read_text()
    linked = (folder / "build.ninja").read_text().split("_EXECUTABLE_LINKER__stpl_rt_tests_")[1].split("\n\n")[0]
    assert re.search(rf"-Wl,-rpath,\S*{check.WHEELS}/openvino/libs", linked)


TESTS = """\
import of_a_test
import numpy as np
import pytest
import staged_of_a_test

pytestmark = pytest.mark.gpu


def test_passes():
    pass


def test_skips():
    pytest.skip("no reason but this")
"""
FAILS = """\

def test_fails():
    assert staged_of_a_test is None
"""
OTHER = """\
import of_nowhere_and_not_asked_for
"""


def test_python_tests_run_with_what_is_staged_and_carried(
    check: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With this project's settings for pytest, some of which want its plugins."""
    tests, stage = tmp_path / "tests", tmp_path / "stage"
    for folder in (tests, stage):
        folder.mkdir()
    (tmp_path / "pyproject.toml").write_text((root / "pyproject.toml").read_text())
    (stage / "staged_of_a_test.py").touch()
    (tests / "test_other.py").write_text(OTHER)
    write_wheel(tmp_path / "carried", "of_a_test")
    given = given_to(check, monkeypatch, "--wheels", str(tmp_path / "carried"))
    check.unpack(given.carried)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "stage_of_most", lambda: stage)
    (tests / "test_some.py").write_text(TESTS)
    skips = {"tests.test_some.test_skips": "no reason but this"}
    counts = {"passed": 1, "failed": 0, "skipped": 1}
    assert check.python_tests(given) == {**counts, "failures": {}, "reasons_of_skips": skips}
    (tests / "test_some.py").write_text(TESTS + FAILS)
    (tests / "test_broken.py").write_text("import of_nowhere  # pytest.mark.gpu")
    with pytest.raises(check.FailedError, match="exit status 1") as caught:
        check.python_tests(given)
    found = caught.value.results
    assert (found["passed"], found["failed"], found["reasons_of_skips"]) == (1, 2, skips)
    assert "assert staged_of_a_test is None" in found["failures"]["tests.test_some.test_fails"]
    assert any("No module named 'of_nowhere'" in end for end in found["failures"].values())
    monkeypatch.setattr(check, "unusable", lambda modules, where: {"pytest": "not installed"})
    with pytest.raises(check.SkippedError, match="cannot import pytest"):
        check.python_tests(given)


def test_what_only_a_machine_without_a_gpu_can_test_has_its_name(root: Path) -> None:
    """gpu_check leaves those out; any other that skips where a GPU is would fail there."""
    for file in (root / "tests" / "cpp").glob("*/*_device_test.cpp"):
        text = file.read_text()
        for position in (match.start() for match in re.finditer(r'GTEST_SKIP\(\) << "there is a GPU', text)):
            assert text[:position].rsplit("TEST", 1)[1].startswith(("(WithoutGpu,", "_F(WithoutGpu,")), file


def test_a_step_that_breaks_leaves_the_others_and_its_own_figures(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report: dict[str, Any] = {"steps": {}}
    assert check.run("breaks", lambda: {"a": 1 // 0}, report, after=()) is None
    assert report["steps"]["breaks"]["status"] == "failed"
    assert "ZeroDivisionError" in report["steps"]["breaks"]["reason"]
    out = tmp_path / "rows.json"
    writes = ["bash", "-c", 'echo "{\\"first\\": 1}" >"$2"; sleep 20', "x"]
    found = check.run("late", lambda: check.measured(writes, out, 1), report, after=())
    assert found == {"first": 1} and report["steps"]["late"]["status"] == "failed"
    assert json.loads(check.save(report, tmp_path / "out").read_text()) == report


def test_every_step_is_in_the_report_when_the_next_one_begins(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed from outside has the figures until then, in the folder $OUT."""
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    monkeypatch.setattr(check, "the_gpu", lambda: {"name": "of a test", "compute_cap": "9.0"})

    def killed(*_: object) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(check, "build", killed)
    with pytest.raises(SystemExit):
        check.main()
    steps = json.loads((tmp_path / "out" / "gpu_check.json").read_text())["steps"]
    assert list(steps) == ["gpu", "wheels"] and steps["gpu"]["results"]["name"] == "of a test"


def test_what_is_stopped_leaves_nothing_at_work(check: ModuleType, tmp_path: Path) -> None:
    number = tmp_path / "number"
    with pytest.raises(check.FailedError, match="not done after 2 s"):
        check.execute(["bash", "-c", f"sleep 300 & echo $! > {number}; wait"], 2)
    left = Path("/proc") / number.read_text().strip()
    until = time.monotonic() + 20
    while left.exists() and "Z" not in (left / "stat").read_text().split()[2] and time.monotonic() < until:
        time.sleep(0.05)
    assert not left.exists() or "Z" in (left / "stat").read_text().split()[2]


def test_pieces_are_the_file_or_are_refused(check: ModuleType, tmp_path: Path) -> None:
    import pieces

    whole = tmp_path / "large.whl"
    whole.write_bytes(bytes(range(256)) * 10)
    *parts, listing = pieces.split(whole, 1000)
    assert [part.stat().st_size for part in parts] == [1000, 1000, 560]
    assert pieces.join(listing, tmp_path / "out").read_bytes() == whole.read_bytes()
    parts[1].write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="carry the pieces again"):
        pieces.join(listing, tmp_path / "out")
    assert not (tmp_path / "out" / "large.whl").exists()
    parts[2].unlink()
    with pytest.raises(ValueError, match=r"did not find large\.whl\.piece-002"):
        pieces.join(listing, tmp_path / "out")


def test_a_plan_without_a_compute_capability_is_built_and_said_to_be_untried(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU: scripts/gpu_check.sh runs the plan")
    out = tmp_path / "plan.json"
    command = [sys.executable, str(root / "benchmarks" / "rtx_plan.py"), "--json", str(out), "--size", "64x128"]
    done = subprocess.run(
        [*command, "--networks", "compact", "--precisions", "fp16", "--plans", str(tmp_path / "plans")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["gpu"] is None
    (facts,) = found["compact fp16"].values()
    assert facts["plan_bytes"] > 100_000
    assert facts["runs"] is None and "no GPU" in facts["reason"]
    # Left for a machine that has one.
    assert (tmp_path / "plans" / "compact-fp16-128x64.plan").stat().st_size == facts["plan_bytes"]


def left_by_an_earlier_run(folder: Path) -> tuple[list[Path], Path]:
    """A program and an extension module, and an object file."""
    names = ("bench/stpl_rt_cuda_bench", "bindings/_core.abi3.so", "CMakeFiles/stpl_rt_cuda_bench.dir/bench.cpp.o")
    files = [folder / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch(0o755)
    return files[:2], files[2]


def test_what_an_earlier_run_built_does_not_stand_for_what_is_not_built_now(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [left_by_an_earlier_run(folder) for folder in (check.BUILD, check.WITH_TENSORRT)]

    def there() -> list[bool]:
        return [product.exists() for products, _ in left for product in products]

    def none_left(*_: Any) -> dict[str, Any]:
        assert not any(there())
        return {}

    def no_gpu() -> None:
        raise check.SkippedError("no GPU")

    monkeypatch.setattr(check, "STEPS", {"wheels": none_left})
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", str(tmp_path / "out")])
    monkeypatch.setattr(check, "the_gpu", no_gpu)
    assert check.main() == 0 and all(there()), "where nothing is built, nothing is taken away"
    monkeypatch.setattr(check, "the_gpu", lambda: {"name": "of a test", "compute_cap": "9.0"})
    assert check.main() == 0 and not any(there())
    assert all(compiled.is_file() for _, compiled in left)


def test_a_module_that_cannot_be_built_is_not_there(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    (program, module), _ = left_by_an_earlier_run(check.BUILD)
    given = given_to(check, monkeypatch)
    monkeypatch.setattr(check, "execute", lambda command, limit, **environment: "")
    assert check.products(check.BUILD, check.MODULE) == [module]
    check.make(check.BUILD, [check.MODULE], 1, given)
    assert program.is_file() and not module.exists()
    with pytest.raises(check.SkippedError, match="the extension module was not built"):
        check.stage_of_most()


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


def test_steps_by_name_bring_what_they_need(check: ModuleType) -> None:
    assert list(check.chosen([])) == STEPS[1:]
    assert list(check.chosen(["limits", "bars"])) == ["wheels", "limits", "bars"]
    assert list(check.chosen(["training step", "kernels"])) == ["wheels", "build", "kernels", "training step", "bars"]


def test_a_second_call_repeats_nothing_and_adds_to_the_report(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine where what the first one built is still there, though its report is not."""
    files, _ = left_by_an_earlier_run(check.BUILD)
    (check.BUILD / "bench" / "stpl_rt_cuda_pipeline").touch(0o755)
    (check.BUILD / "stpl_rt_inductor_pipeline").touch(0o755)
    write_wheel(tmp_path / "carried", "of_a_test")
    monkeypatch.setattr(check, "the_gpu", lambda: {"name": "of a test", "compute_cap": "9.0"})
    monkeypatch.setattr(check, "configure", lambda *_: pytest.fail("configured again"))
    monkeypatch.setattr(check, "kernels", lambda: {"rows": 1})
    monkeypatch.setattr(check, "limits", lambda: {"tflops": 2})
    first = {"wheels": {"status": "done"}, "pipeline": {"status": "failed", "results": {"rows": 0}}}
    check.save({"steps": first}, check.BUILD)
    command = ["gpu_check.py", str(tmp_path / "out"), "--wheels", str(tmp_path / "carried"), "--steps"]
    monkeypatch.setattr(sys, "argv", [*command, "kernels"])
    assert check.main() == 0 and all(file.is_file() for file in files)
    steps = json.loads((tmp_path / "out" / "gpu_check.json").read_text())["steps"]
    assert set(steps) == {"gpu", "wheels", "build", "kernels", "pipeline", "bars"}
    assert steps["pipeline"] == {**first["pipeline"], "of_an_earlier_call": True}
    assert steps["kernels"]["results"] == {"rows": 1} and "of_an_earlier_call" not in steps["wheels"]
    assert check.BENCHES[0] in steps["build"]["results"]["reused"]
    # Nor are wheels unpacked again.
    monkeypatch.setattr(check, "unpacked", lambda _: pytest.fail("unpacked again"))
    monkeypatch.setattr(sys, "argv", [*command, "limits"])
    assert check.main() == 0
    steps = json.loads((tmp_path / "out" / "gpu_check.json").read_text())["steps"]
    assert steps["wheels"]["results"]["wheels"] == ["of_a_test-1-py3-none-any.whl"]
    assert steps["kernels"] == {**steps["kernels"], "results": {"rows": 1}, "of_an_earlier_call": True}


def test_an_optional_part_that_cannot_be_configured_leaves_the_others(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = given_to(check, monkeypatch)
    given.gpu = {"compute_cap": "9.0"}
    tried: list[dict[str, str]] = []
    made: list[str] = []

    def configure(folder: Path, options: dict[str, str], given: Any) -> None:
        tried.append(options)
        if options["STPL_RT_INDUCTOR"] == "ON":
            raise check.FailedError("PyTorch's library is not there")

    monkeypatch.setattr(check, "configure", configure)
    monkeypatch.setattr(check, "make", lambda folder, targets, limit, given: made.extend(targets))
    monkeypatch.setattr(check, "find_nvcc", lambda: "nvcc")
    facts = check.build(given)
    assert facts["left_out"] == {"STPL_RT_INDUCTOR": "PyTorch's library is not there"}
    kept = {"STPL_RT_PYTHON": "ON", "STPL_RT_INDUCTOR": "OFF", "STPL_RT_TESTS": "ON"}
    assert tried[-1].items() >= kept.items() and facts.items() >= kept.items()
    assert made == [*check.BENCHES, check.MODULE]


def test_the_cpp_tests_are_built_by_their_own_step(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(check, "make", lambda folder, targets, limit, given: made.extend(targets))
    monkeypatch.setattr(check, "tested", lambda program, folder, label: {"passed": 1, "of": 1})
    monkeypatch.setattr(check, "built", lambda name, folder: folder / name)
    given = given_to(check, monkeypatch)
    monkeypatch.setattr(check.Given, "why_no_tests", lambda given: "")
    with pytest.raises(check.SkippedError, match="not configured with tests"):
        check.gpu_tests(given)
    (check.BUILD / "CMakeCache.txt").write_text("STPL_RT_TESTS:BOOL=ON\n")
    assert check.gpu_tests(given) == {"passed": 1, "of": 1} and made == [check.TESTS]
    (check.BUILD / check.TESTS).touch(0o755)
    check.gpu_tests(given_to(check, monkeypatch, "--steps", "tests"))
    assert made == [check.TESTS]


def test_a_package_that_lacks_what_it_wants_is_said(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_of_a_test.py").write_text("print('said while it is imported')\nimport core_of_nowhere")
    environment = {"PYTHONPATH": str(tmp_path)}
    check.needs("json", **environment)
    with pytest.raises(check.SkippedError, match=r"cannot import of_nowhere \(not installed\)$"):
        check.needs("json", "of_nowhere", "broken_of_a_test", **environment)
    with pytest.raises(check.SkippedError, match=r"broken_of_a_test \(.*No module named 'core_of_nowhere'\)$"):
        check.needs("json", "broken_of_a_test", **environment)


def test_a_machine_without_git_has_a_commit_all_the_same(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("STPL_COMMIT", raising=False)
    assert check.commit() == "unknown"
    monkeypatch.setenv("STPL_COMMIT", "abc1234")
    assert check.commit() == "abc1234"


def test_without_the_json_header_the_build_fails_at_once(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "HEADERS", (tmp_path / "include",))
    monkeypatch.setattr(check, "can_import", lambda name, where: False)
    monkeypatch.setattr(check, "configure", lambda *_: pytest.fail("configured"))
    with pytest.raises(check.FailedError, match=r"expected nlohmann/json\.hpp .*found it nowhere"):
        check.build(given_to(check, monkeypatch, "--wheels", str(tmp_path)))
    (tmp_path / "include" / "nlohmann").mkdir(parents=True)
    (tmp_path / "include" / "nlohmann" / "json.hpp").touch()
    assert given_to(check, monkeypatch).has_json()


def write_program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


def test_pytorch_s_compiler_finds_the_toolkit_and_the_driver(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver brings libcuda.so.1 alone, and the nvcc on the path may be a script."""
    programs, toolkit = tmp_path / "bin", tmp_path / "toolkit"
    write_program(programs, "nvcc", f"echo '#$ _SPACE_= ' >&2; echo '#$ TOP={toolkit}' >&2")
    write_program(programs, "c++", "[[ -e $LINKS ]]")
    driver = tmp_path / "libcuda.so.1"
    other = f"echo '\tlibcuda.so.1 (libc6) => {tmp_path}/lib32/libcuda.so.1'"
    write_program(programs, "ldconfig", f"{other}; echo '\tlibcuda.so.1 (libc6,x86-64) => {driver}'")
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("LINKS", str(tmp_path / "no"))
    monkeypatch.setenv("LIBRARY_PATH", "/of/others")
    monkeypatch.setattr(check, "DRIVERS", (tmp_path / "container",))
    assert check.for_inductor() == {"CUDA_HOME": str(toolkit)}
    (tmp_path / "lib32").mkdir()
    for file in (driver, tmp_path / "lib32" / "libcuda.so.1"):
        file.touch()
    lib = check.BUILD / "lib"
    expected = {"CUDA_HOME": str(toolkit), "LIBRARY_PATH": f"{lib}:/of/others"}
    assert check.for_inductor() == expected and (lib / "libcuda.so").resolve() == driver
    # Where the loader does not know it, as in containers; and none where the linker has one.
    write_program(programs, "ldconfig", "exit 1")
    (tmp_path / "container").mkdir()
    (tmp_path / "container" / "libcuda.so.1").touch()
    assert check.for_inductor() == expected
    assert (lib / "libcuda.so").resolve() == tmp_path / "container" / "libcuda.so.1"
    monkeypatch.setenv("LINKS", str(driver))
    assert check.for_inductor() == {"CUDA_HOME": str(toolkit)}


def test_users_pipelines_run_the_largest_row_unless_others_are_asked_for(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ["--rounds", "3", "--frames", "20"]
    given = given_to(check, monkeypatch, "--bundles", str(tmp_path))
    assert check.rows_of_users(given, True) == ["--models", "segformer-b1", "--sizes", "2048x1024", *few]
    with pytest.raises(check.SkippedError, match="expected OpenVINO, to export bundles, or bundles in"):
        check.rows_of_users(given, False)
    (tmp_path / "pidnet-s-512x256-f16" / "bundle").mkdir(parents=True)
    manifest = {"input": {"width": 512, "height": 256}}
    (tmp_path / "pidnet-s-512x256-f16" / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    assert check.rows_of_users(given, False) == ["--models", "pidnet-s", "--sizes", "512x256", *few, "--carried"]
    given = given_to(check, monkeypatch, "--bundles", str(tmp_path), "--models", "a", "b", "--sizes", "8x4")
    assert check.rows_of_users(given, False) == ["--models", "a", "b", "--sizes", "8x4", "--carried"]


def test_programs_write_their_rows_to_a_file(check: ModuleType, tmp_path: Path) -> None:
    """Beside whatever they say; of one that ends half-way, those until then."""
    out = tmp_path / "rows.json"
    program = ["bash", "-c", 'echo a warning; echo "{\\"row\\": 1}" >"$2"; exit $0']
    assert check.measured([program[0], program[1], program[2], "0"], out, 20) == {"row": 1}
    with pytest.raises(check.FailedError) as caught:
        check.measured([program[0], program[1], program[2], "3"], out, 20)
    assert caught.value.results == {"row": 1}
