"""Several processes give the losses of one process with the whole batch; accumulated parts come close to them."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from stpl.data.batches import PreparedVideo
from stpl.data.specs import open_dataset
from stpl.errors import UserError
from stpl.method import reduction
from stpl.method.calibration import CalibrationConfig
from stpl.method.guard import GuardConfig
from stpl.models.registry import build_model
from stpl.train.adapt import adapt
from stpl.train.checkpoint import Checkpoint, InputConfig, load_checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.processes import Processes, processes
from stpl.train.run import METRICS_FILE, RESUME_FILE
from stpl.train.training import Adaptation, autocast

pytestmark = pytest.mark.timeout(900)  # several processes on a busy machine

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "models" / "street-day"
DUSK = "synthstreet:?domain=dusk&seed=2&sequences=2&frames=6&size=96x128"
STEPS = 3
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["stpl.train.adapt", "kornia.augmentation", "accelerate"])


def config(method: str, **changes: object) -> AdaptConfig:
    return AdaptConfig.model_validate(
        {
            "method": method,
            "steps": STEPS,
            "batch_size": 4,
            "seed": 3,
            "snapshot_every": 2,
            "calibration": CalibrationConfig(gammas=(1.0, 0.6), balanced_gammas=(), frames=2),
            "guard": GuardConfig(least_frames=2, frames=4),
            **changes,
        }
    )


def source() -> Checkpoint:
    checkpoint = load_checkpoint(MODEL)
    return replace(checkpoint, input=checkpoint.input.model_copy(update={"height": 96, "width": 128}))


def run(settings: AdaptConfig, out: Path) -> None:
    torch.set_num_threads(1)
    with processes("cpu"):
        adapt(settings, source(), open_dataset(DUSK), out)


def run_as(index: int, count: int, port: int, settings: AdaptConfig, out: Path) -> None:
    """One of several processes, as a launcher would start it."""
    os.environ.update(RANK=str(index), LOCAL_RANK=str(index), WORLD_SIZE=str(count), LOCAL_WORLD_SIZE=str(count))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    run(settings, out)


def run_in_two(settings: AdaptConfig, out: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [CONTEXT.Process(target=run_as, args=(i, 2, port, settings, out)) for i in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(600)
    assert [process.exitcode for process in started] == [0, 0]


def logged(out: Path) -> list[dict[str, float]]:
    events = [json.loads(line) for line in (out / METRICS_FILE).read_text().splitlines()]
    return [event for event in events if event["event"] == "step"]


def assert_same_losses(a: Path, b: Path, tolerance: float = 1e-4, steps: int = STEPS) -> None:
    one, other = logged(a), logged(b)
    assert [step["step"] for step in one] == [step["step"] for step in other] == list(range(steps))
    for first, second in zip(one, other, strict=True):
        for name in (name for name in first if name.startswith("loss")):
            assert second[name] == pytest.approx(first[name], abs=tolerance), f"{name} of step {first['step']}"


def trained_weights(run_folder: Path) -> torch.Tensor:
    weights = load_checkpoint(run_folder).weights
    return torch.cat([weights[name].flatten().double() for name in sorted(weights) if "running" not in name])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["stpl", "spatial+temporal", "self-training", "tent", "shot", "hcl", "tps"])
def test_two_processes_log_the_losses_of_one(method: str, tmp_path: Path) -> None:
    # The student itself comes out, so that what it learnt can be compared.
    settings = config(method, ema_decay=0.0, guard=GuardConfig(mode="off"))
    run(settings, tmp_path / "one")
    run_in_two(settings, tmp_path / "two")
    assert_same_losses(tmp_path / "one", tmp_path / "two")
    run(config("bn"), tmp_path / "start")
    start, one, two = (trained_weights(tmp_path / name) for name in ("start", "one", "two"))
    moved = (one - start).norm()
    assert moved > 0 and (two - one).norm() < 0.1 * moved
    assert sorted(file.name for file in (tmp_path / "two").iterdir()) == [
        "checkpoint.safetensors",
        "config.yaml",
        METRICS_FILE,
    ]


@pytest.mark.slow
def test_parts_of_a_batch_log_nearly_the_losses_of_the_whole(tmp_path: Path) -> None:
    """Each part is averaged over its own pixels and anchors, so the mean over the parts is close, not equal."""
    run(config("stpl"), tmp_path / "whole")
    run(config("stpl", accumulate=2), tmp_path / "parts")
    whole, parts = logged(tmp_path / "whole"), logged(tmp_path / "parts")
    assert parts[0]["loss"] == pytest.approx(whole[0]["loss"], rel=0.1)
    assert parts[0]["loss"] != whole[0]["loss"]


@pytest.mark.slow
def test_parts_and_processes_together(tmp_path: Path) -> None:
    run(config("stpl", accumulate=2), tmp_path / "one")
    run_in_two(config("stpl", accumulate=2), tmp_path / "two")
    assert_same_losses(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_a_launcher_starts_the_command_and_one_process_speaks(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = ["-m", "stpl.cli", "adapt", "--model", str(MODEL), "--target", DUSK, "--out", str(tmp_path / "run")]
    settings = ["--steps", "2", "device=cpu", "calibration.enabled=false", "guard.mode=off", "batch_norm.frames=2"]
    done = subprocess.run([*launcher, *command, *settings], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next: stpl-adapt export") == 1
    names = ["checkpoint.safetensors", "config.yaml", METRICS_FILE, "report.html"]
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == names
    assert [step["step"] for step in logged(tmp_path / "run")] == [0, 1]


def test_every_place_of_a_batch_falls_to_one_process_and_one_part() -> None:
    group = [Processes(torch.device("cpu")) for _ in range(3)]
    for index, one in enumerate(group):
        one.index, one.count = index, 3
    shares = [one.places(12, 2) for one in group]
    assert sorted(place for share in shares for part in share for place in part) == list(range(12))
    # A part is one stretch of the batch over all processes, so that it is the same part for any number of them.
    assert sorted(place for share in shares for place in share[0]) == list(range(6))


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 3), (1, 2)])
def test_a_batch_that_cannot_be_divided_is_refused_before_anything_is_written(
    batch_size: int, accumulate: int, tmp_path: Path
) -> None:
    settings = config("stpl", batch_size=batch_size, accumulate=accumulate)
    with pytest.raises(UserError, match=rf"batch_size = {batch_size}: expected a multiple of {accumulate}"):
        adapt(settings, source(), open_dataset(DUSK), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing without a GPU")
def test_devices_and_precisions_that_are_not_there_are_named() -> None:
    with pytest.raises(UserError, match=r"device = cuda:1: expected a GPU"):
        Processes.start("cuda:1")
    with pytest.raises(UserError, match="fp16: expected a CUDA GPU"):
        autocast("fp16", torch.device("cpu"))
    assert Processes.start("auto").device.type == "cpu"


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """PyTorch as it is with two GPUs, set to the first; returns what it is set to, one after the other."""
    from torch.cuda._utils import _get_device_index

    chosen = [0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: chosen[-1])
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(_get_device_index(device)))
    return chosen


def test_a_gpu_has_its_number_whatever_it_is_called(two_gpus: list[int]) -> None:
    for name, number in (("auto", 0), ("cuda", 0), ("cuda:1", 1), ("cuda", 1), ("cuda:0", 0)):
        assert Processes.start(name).device == torch.device("cuda", number)
        assert two_gpus[-1] == number
    assert len(two_gpus) == 6
    with pytest.raises(UserError, match=r"device = cuda:2: expected a GPU .* finds 2"):
        Processes.start("cuda:2")


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_of_several_processes_has_a_gpu_of_its_own(
    name: str, two_gpus: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    import accelerate

    prepared: list[bool] = []

    class Second:
        """What Accelerate is to the second of two processes."""

        is_main_process, num_processes, process_index = False, 2, 1

        def __init__(self, cpu: bool, kwargs_handlers: list[object], **_: object) -> None:
            self.device = torch.device("cpu") if cpu else torch.device("cuda", int(os.environ["LOCAL_RANK"]))

    monkeypatch.setattr(accelerate, "Accelerator", Second)
    monkeypatch.setattr("stpl.train.processes.prepare_to_wait", lambda: prepared.append(True))
    monkeypatch.setattr(logging.getLogger("stpl"), "setLevel", lambda level: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Processes.start(name).device == torch.device("cuda", 1)
    assert two_gpus == [0]  # Accelerate sets it
    assert prepared == [True]
    with pytest.raises(UserError, match="device = cuda:1: expected cuda, a GPU for each process"):
        Processes.start("cuda:1")


def test_processes_wait_long_for_one_another_and_not_for_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the main process trains accel mode; a process that is lost in training shall be noticed."""
    made: list[dict[str, object]] = []
    waited: list[object] = []

    def new_group(**options: object) -> str:
        made.append(options)
        return "the group to wait in"

    monkeypatch.setattr(reduction, "process_count", lambda: 2)
    monkeypatch.setattr(torch.distributed, "new_group", new_group)
    monkeypatch.setattr(torch.distributed, "barrier", waited.append)
    reduction._waiting_group.cache_clear()
    try:
        reduction.prepare_to_wait()
        assert made == [{"backend": "gloo", "timeout": timedelta(days=1)}] and waited == []
        for _ in range(2):
            reduction.wait_for_all()
        assert len(made) == 1 and waited == ["the group to wait in"] * 2
    finally:
        reduction._waiting_group.cache_clear()


@pytest.mark.parametrize("method", ["stpl", "shot", "tent"])
@pytest.mark.parametrize("arch", ["compact", "accel_deeplabv2", "pidnet-s"])
def test_with_several_processes_all_that_wants_gradients_gets_some(method: str, arch: str) -> None:
    """Where DistributedDataParallel finds a weight without, the host waits for a GPU to hear of the others'."""
    data = open_dataset(DUSK)
    classes = data.classes
    assert classes is not None
    torch.manual_seed(0)
    shape = InputConfig(height=96, width=128)
    start = Checkpoint(arch, classes, shape, {}).with_weights(build_model(arch, len(classes)))
    batch = PreparedVideo(data, shape.spec()).pair_batch([1, 2])
    losses, trained = {}, {}
    for count in (1, 2):
        group = Processes(torch.device("cpu"))
        group.count = count
        torch.manual_seed(1)
        adapting = Adaptation(config(method, batch_size=2 * count, warm_up=0), start, group)
        group.count = 1  # the other's share is nobody's
        losses[count] = [adapting.step(step, [batch])() for step in range(2)]
        trained[count] = len(adapting.optimizer.param_groups[0]["params"])
    wanting = [parameter for parameter in adapting.losses.parameters() if parameter.requires_grad]
    assert wanting and all(parameter.grad is not None for parameter in wanting)
    assert losses[1] == losses[2]
    assert trained[1] == trained[2]  # a state names weights by their place among these


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_compiled_networks_log_the_losses_of_others(tmp_path: Path) -> None:
    run(config("stpl", steps=2, guard=GuardConfig(mode="off")), tmp_path / "eager")
    run(config("stpl", steps=2, guard=GuardConfig(mode="off"), compile=True), tmp_path / "compiled")
    assert_same_losses(tmp_path / "eager", tmp_path / "compiled", steps=2)


@pytest.mark.slow
def test_bf16_trains_and_stays_near_f32(tmp_path: Path) -> None:
    run(config("stpl"), tmp_path / "f32")
    run(config("stpl", precision="bf16"), tmp_path / "bf16")
    first, second = logged(tmp_path / "f32")[0], logged(tmp_path / "bf16")[0]
    assert second["loss"] != first["loss"] and second["loss"] == pytest.approx(first["loss"], rel=0.1)
    assert not (tmp_path / "bf16" / RESUME_FILE).exists()
