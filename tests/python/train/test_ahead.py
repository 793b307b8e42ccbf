"""Steps whose values are asked for later: each is logged once, saves know of all before them, a stop is heeded."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stpl.train.ahead import Fetched
from stpl.train.processes import Processes
from stpl.train.run import MetricsLog, run_steps


class Device:
    """Steps that are begun, and whose losses are asked for."""

    def __init__(self, log: MetricsLog) -> None:
        self.log = log
        self.begun: list[int] = []
        self.asked: list[tuple[int, int]] = []
        """A step, and the last that had been begun when it was asked for."""
        self.saved: list[tuple[int, int]] = []
        """The step to go on with, and how many had been logged."""

    def step(self, number: int) -> Callable[[], dict[str, float]]:
        self.begun.append(number)

        def losses() -> dict[str, float]:
            self.asked.append((number, self.begun[-1]))
            return {"loss": float(number)}

        return losses

    def save(self, step: int) -> None:
        self.saved.append((step, len(self.logged())))

    def logged(self) -> list[int]:
        lines = self.log.path.read_text().splitlines() if self.log.path.exists() else []
        return [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize("ahead", [0, 2])
def test_every_step_is_logged_and_none_is_asked_for_too_early(ahead: int, tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    device = Device(log)
    run_steps("", range(3, 12), device.step, log, device.save, 5, ahead=ahead)
    assert device.logged() == list(range(3, 12))
    # At a save and at the end all are settled.
    last = {step: min(step + ahead, 4 if step < 5 else 9 if step < 10 else 11) for step in range(3, 12)}
    assert device.asked == list(last.items())
    assert device.saved == [(5, 2), (10, 7)]


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("at", [4, 8])
def test_a_stop_saves_what_was_begun(ahead: int, at: int, tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    device = Device(log)

    def step(number: int) -> Callable[[], dict[str, float]]:
        if number == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return device.step(number)

    with pytest.raises(KeyboardInterrupt):
        run_steps("", range(9), step, log, device.save, 100, ahead=ahead)
    begun = len(device.begun)
    assert device.saved == [(begun, begun)] and at < begun <= at + 1 + ahead
    assert device.logged() == list(range(begun))


def test_where_training_is_finished_early_all_is_logged(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    device = Device(log)
    run_steps("", range(9), device.step, log, device.save, 100, finished=lambda: len(device.begun) == 4, ahead=2)
    assert device.logged() == [0, 1, 2, 3] and device.saved == []


def test_numbers_on_the_cpu_are_there_at_once() -> None:
    assert Fetched(torch.tensor([0.5, 2.0], requires_grad=True)).values() == [0.5, 2.0]
    alone = Processes(torch.device("cpu"))
    assert alone.any(True)() and not alone.any(False)()


@pytest.mark.gpu
def test_numbers_on_a_gpu_are_not_waited_for_until_they_are_asked_for() -> None:
    device = torch.device("cuda", 0)
    large = torch.rand(4096, 4096, device=device)
    Fetched(large[0]).values()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(8):
            large = (large @ large).div_(2048)
        fetched = Fetched(large[0, :4])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert fetched.values() == large[0, :4].tolist()
