"""The command line itself: help, exit statuses, what is imported when, and `doctor`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import stpl_rt
from stpl.benchmark.config import BenchmarkConfig
from stpl.cli import doctor as doctor_module
from stpl.cli.doctor import Check
from stpl.config import Config, load_config
from stpl.train.config import AdaptConfig
from stpl.train.source import SourceConfig

from .conftest import DUSK, Command, Runs

ROOT = Path(__file__).resolve().parents[3]

COMMANDS = ["source", "adapt", "evaluate", "export", "segment", "benchmark", "doctor", "demo"]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


def test_help_lists_every_command(stpl_adapt: Command) -> None:
    shown = stpl_adapt("--help")
    assert shown.status == 0
    listed = [line.split()[0] for line in shown.out.split("Commands:")[1].splitlines() if line.strip()]
    assert listed == COMMANDS
    assert "..." not in shown.out.split("Commands:")[1]  # no summary is cut off


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_that_names_only_its_own_options(command: str, stpl_adapt: Command) -> None:
    shown = stpl_adapt(command, "--help")
    assert shown.status == 0
    examples = [line.strip() for line in shown.out.splitlines() if line.strip().startswith(f"stpl-adapt {command}")]
    assert examples
    options = shown.out.split("Options:")[1]
    for word in " ".join(examples).split():
        if word.startswith("--"):
            assert f"{word} " in options


@pytest.mark.parametrize(
    ("command", "settings"),
    [("source", SourceConfig), ("adapt", AdaptConfig), ("benchmark", BenchmarkConfig)],
)
def test_the_setting_named_in_help_is_one_of_the_commands_own(
    command: str, settings: type[Config], stpl_adapt: Command
) -> None:
    (example,) = re.findall(r"Settings, such as (\S+)\.\n", stpl_adapt(command, "--help").out)
    recipe = ROOT / "models" / "viper_to_cityscapes.yaml" if command == "benchmark" else None
    load_config(settings, recipe, [example])  # raises UserError for an unknown key


@pytest.mark.parametrize("where", ["help", "docs"])
def test_the_benchmarks_example_starts_from_imagenet(where: str, stpl_adapt: Command) -> None:
    text = stpl_adapt("benchmark", "--help").out if where == "help" else (ROOT / "docs/cli.md").read_text()
    example = text.split("stpl-adapt benchmark --config", 1)[1].split("\n\n", 1)[0]
    assert "pair_source.imagenet=" in example


def test_usage_errors_exit_with_2(stpl_adapt: Command) -> None:
    unknown = stpl_adapt("exprot")
    assert unknown.status == 2
    assert "export" in unknown.err
    missing = stpl_adapt("export", "--out", "x")
    assert missing.status == 2
    assert "--model" in missing.err
    assert stpl_adapt("adapt", "--steps", "0").status == 2


def test_version(stpl_adapt: Command) -> None:
    assert stpl_adapt("--version").out.startswith("stpl ")


def test_a_fault_is_logged_with_its_traceback(stpl_adapt: Command, monkeypatch: pytest.MonkeyPatch, runs: Runs) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr("stpl.evaluate.evaluate_checkpoint", broken)
    fault = stpl_adapt("evaluate", "--model", runs.source, "--data", DUSK)
    assert fault.status == 1


def test_a_fault_shows_where_it_happened() -> None:
    code = (
        "import stpl.data.specs, sys\n"
        "from stpl.cli.main import run\n"
        "def broken(*_, **__): raise RuntimeError('the machine is on fire')\n"
        "stpl.data.specs.open_dataset = broken\n"
        "sys.exit(run(['evaluate', '--model', 'x', '--data', 'y']))\n"
    )
    fault = python(code)
    assert fault.returncode == 1
    assert "Traceback" in fault.stderr
    assert "the machine is on fire" in fault.stderr


def test_a_full_disk_is_no_fault_of_ours() -> None:
    code = (
        "import errno, os, stpl.data.specs, sys\n"
        "from stpl.cli.main import run\n"
        "def full(*_, **__): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "stpl.data.specs.open_dataset = full\n"
        "sys.exit(run(['evaluate', '--model', 'x', '--data', 'y']))\n"
    )
    done = python(code)
    assert done.returncode == 1
    assert "No space left on device: free some space, or write elsewhere" in done.stderr
    assert "Traceback" not in done.stderr and "report" not in done.stderr


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = python(
        "import sys, stpl.cli.app\n"
        "print(sorted({'torch', 'numpy', 'stpl_rt', 'onnx', 'av', 'kornia', 'pydantic'} & set(sys.modules)))"
    )
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_segmenting_does_not_load_pytorch(runs: Runs) -> None:
    loaded = python(
        "import sys\n"
        "from stpl.cli.main import run\n"
        f"status = run(['segment', '--bundle', {str(runs.bundle)!r}, '--input', {str(runs.video)!r}])\n"
        "print(status, 'torch' in sys.modules)"
    )
    assert loaded.stdout.splitlines()[-1] == "0 False", loaded.stderr


@pytest.mark.parametrize("missing", ["typer", "torch"])
def test_without_the_training_side_it_says_what_to_install(missing: str, runs: Runs) -> None:
    # An entry of None makes `import` fail as if the package were not there.
    said = python(
        f"import sys\nsys.modules[{missing!r}] = None\n"
        "from stpl.cli.main import run\n"
        f"sys.exit(run(['evaluate', '--model', {str(runs.source)!r}, '--data', {DUSK!r}]))"
    )
    assert said.returncode == 2, said.stderr
    assert said.stderr.strip().splitlines() == [
        f"error: this needs the training side, of which '{missing}' is missing: pip install 'stpl[train]'"
    ]


def test_doctor_finds_the_core_working(stpl_adapt: Command) -> None:
    said = stpl_adapt("doctor", "--data", DUSK)
    assert said.status == 0, said.out
    for words in ("openvino", "torch", "H.264 written and read", "8 in 1 sequences", "64x48", "8 of 8 frames"):
        assert words in said.out


def test_doctor_fails_where_the_core_does_not_work(stpl_adapt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Check("stpl_rt", False, "libopenvino is missing", "pip install .", core=True)
    optional = Check("video", False, "PyAV is missing", "pip install 'stpl[video]'")
    monkeypatch.setattr(doctor_module, "CHECKS", (lambda: broken, lambda: optional))
    said = stpl_adapt("doctor")
    assert said.status == 1
    for words in ("libopenvino is missing", "pip install .", "pip install 'stpl[video]'", "does not work: stpl_rt"):
        assert words in said.out
    monkeypatch.setattr(doctor_module, "CHECKS", (lambda: optional,))
    assert stpl_adapt("doctor").status == 0


def test_doctor_says_what_a_gpu_is_used_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(stpl_rt, "engines", lambda: ["openvino"])
    alone = "used by training; this build of the runtime has no engine for it (openvino alone): docs/tensorrt.md"
    assert doctor_module.check_gpu().detail == f"NVIDIA H100 80GB HBM3: {alone}"
    monkeypatch.setattr(stpl_rt, "engines", lambda: ["openvino", "tensorrt"])
    both = "used by training; and by the runtime, through TensorRT"
    assert doctor_module.check_gpu().detail == f"NVIDIA H100 80GB HBM3: {both}"


def test_doctor_looks_for_all_that_training_needs() -> None:
    needed = re.search(r"^train = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    assert needed is not None
    packages = set(re.findall(r'"([a-z0-9]+)', needed[1]))
    # The command line itself needs the first two; of video PyAV is used.
    assert packages - {"typer", "rich", "av"} == set(doctor_module.TRAIN_PACKAGES.values())


def test_doctor_notices_a_kernel_that_computes_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    import stpl_rt

    assert doctor_module.check_runtime().works
    monkeypatch.setattr(stpl_rt, "sample_argmax", lambda *_, **__: np.zeros((4, 4), np.uint8))
    assert not doctor_module.check_runtime().works
