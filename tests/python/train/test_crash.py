"""A run that is killed, at any moment, goes on to the weights of one that was not."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from stpl.data.specs import open_dataset
from stpl.method.batch_norm import BatchNormConfig
from stpl.method.calibration import CalibrationConfig
from stpl.method.guard import GuardConfig
from stpl.train.adapt import adapt
from stpl.train.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.run import CONFIG_FILE, METRICS_FILE, RESUME_FILE, run_folder

STEPS = 9
# The video is tiny; nothing is refused for that. The network is trained, so that its snapshots are accepted.
GUARD = GuardConfig(content=0.0, least_frames=2, frames=4)
CONFIG = AdaptConfig(
    steps=STEPS,
    batch_size=2,
    seed=4,
    snapshot_every=4,
    save_every=1,
    calibration=CalibrationConfig(frames=2, gammas=(1.0, 0.6), balanced_gammas=()),
    batch_norm=BatchNormConfig(frames=2),
    guard=GUARD,
)
DUSK = "synthstreet:?domain=dusk&seed=2&sequences=2&frames=4&size=96x128"
STREET_DAY = Path(__file__).resolve().parents[3] / "models" / "street-day"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    checkpoint = load_checkpoint(STREET_DAY)
    small = checkpoint.input.model_copy(update={"height": 96, "width": 128})
    save_checkpoint(replace(checkpoint, input=small), folder / FILE_NAME)
    return folder


def run(model: Path, out: Path, resume: bool) -> None:
    torch.set_num_threads(1)
    with run_folder(out, resume=resume):
        adapt(CONFIG, load_checkpoint(model), open_dataset(DUSK), out, resume=resume)


# A server that has imported everything forks the runs: a real process to kill, without seconds of imports each time.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["stpl.train.adapt", "kornia.augmentation"])


def killed_when(moment: Callable[[], bool], model: Path, out: Path) -> BaseProcess:
    """Starts the run, or goes on with it, and kills it (SIGKILL) at a moment; returns the process, ended."""
    process = CONTEXT.Process(target=run, args=(model, out, out.exists()))
    process.start()
    deadline = time.monotonic() + 120
    while process.is_alive() and not moment() and time.monotonic() < deadline:
        time.sleep(0.0002)
    process.kill()
    process.join()
    return process


def some_time_after(out: Path, steps: int, seconds: float) -> Callable[[], bool]:
    """A moment so many seconds after so many more steps: no clock alone would do, on machines fast and slow."""
    wanted = len(steps_logged(out)) + steps
    since: list[float] = []

    def moment() -> bool:
        if not since and len(steps_logged(out)) >= wanted:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] >= seconds

    return moment


def same_weights(a: Path, b: Path) -> bool:
    one, other = load_checkpoint(a).weights, load_checkpoint(b).weights
    return all(torch.equal(one[name], other[name]) for name in one)


def steps_logged(out: Path) -> list[int]:
    """Steps in the log, whole lines only; none where there is no log."""
    file = out / METRICS_FILE
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("}\n")]
    return [event["step"] for event in events if event["event"] == "step"]


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    run(model, out, resume=False)
    assert steps_logged(out) == list(range(STEPS)) and not same_weights(out, model)
    # What comes out are the last step's weights, not a snapshot's from before most of the kills.
    assert '"event": "selected", "after_steps": 9' in (out / METRICS_FILE).read_text()
    assert sorted(file.name for file in out.iterdir()) == [FILE_NAME, CONFIG_FILE, METRICS_FILE]
    return out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_a_run_ends_with_the_same_weights(model: Path, whole: Path, tmp_path: Path) -> None:
    out, dice, kills = tmp_path / "run", random.Random(7), 0
    while not (out / FILE_NAME).exists():
        moment = some_time_after(out, steps=dice.randrange(2), seconds=dice.uniform(0.0, 0.06))
        kills += killed_when(moment, model, out).exitcode == -9
        assert kills < 60, "no run got to the end"
    assert kills >= 3
    assert same_weights(out, whole)
    assert steps_logged(out) == list(range(STEPS))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_while_saving_a_run_goes_on_from_the_save_before(model: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def saving() -> bool:
        return any(out.glob(f".{RESUME_FILE}.*.tmp"))

    caught = 0
    for _ in range(4):
        killed_when(saving, model, out)
        caught += saving()  # the unfinished file is still there
    assert caught >= 2 and not (out / FILE_NAME).exists()
    run(model, out, resume=True)
    assert same_weights(out, whole)
    assert not saving() and steps_logged(out) == list(range(STEPS))


def test_killed_before_its_first_save_a_run_begins_again(model: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    killed_when((out / "config.yaml").exists, model, out)
    assert not (out / FILE_NAME).exists()
    run(model, out, resume=True)
    assert same_weights(out, whole)


def test_a_half_written_line_of_the_log_is_dropped(model: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    killed_when(lambda: (out / METRICS_FILE).exists() and '"step": 3' in (out / METRICS_FILE).read_text(), model, out)
    with (out / METRICS_FILE).open("a") as file:
        file.write('{"event": "step", "step": 99, "lo')
    run(model, out, resume=True)
    assert same_weights(out, whole) and steps_logged(out) == list(range(STEPS))
