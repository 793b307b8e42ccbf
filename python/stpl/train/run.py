"""A run's folder, its log, and the loop that can be interrupted and resumed at any step."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from torch import Tensor, nn

from stpl.config import Config, dump_yaml
from stpl.errors import UserError
from stpl.train.checkpoint import FILE_NAME, load_tensors, save_tensors

RESUME_FILE = "resume.safetensors"
CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.jsonl"


def prepare_run_folder(out: Path, *, overwrite: bool = False, resume: bool = False) -> None:
    """Makes ``out``, or refuses where it already holds a run that nobody said to replace or to go on with.

    Raises:
        UserError: the folder holds a run and neither ``overwrite`` nor ``resume`` is given, or it holds none and
            ``resume`` is, or something else that is not a run is in the way.
    """
    holds_run = any((out / name).exists() for name in (FILE_NAME, RESUME_FILE, METRICS_FILE))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder for the run's output; found a file")
    if resume and not (out / RESUME_FILE).is_file():
        if (out / FILE_NAME).is_file():
            raise UserError(f"{out}: nothing to resume: the run is complete; start anew with --overwrite")
        raise UserError(f"{out}: expected an interrupted run to resume ({RESUME_FILE}); found none")
    if holds_run and not (overwrite or resume):
        raise UserError(f"{out}: already holds a run; continue it with --resume or replace it with --overwrite")
    if overwrite and not resume:
        for name in (FILE_NAME, RESUME_FILE, METRICS_FILE, CONFIG_FILE, "report.html"):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / "snapshots", ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)


class MetricsLog:
    """``metrics.jsonl``: one JSON object a line, each with its ``event``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **values: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **values}) + "\n")

    def forget_from(self, step: int) -> None:
        """Drops what an interrupted run logged beyond the step it is resumed from."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the last line of a run that was killed while writing it
                continue
            if entry.get("step", -1) < step:
                kept.append(line)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        temporary.replace(self.path)


class ResumeState:
    """Modules and an optimiser, saved and restored together with the step."""

    def __init__(self, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, config: Config) -> None:
        self._modules = modules
        self._optimizer = optimizer
        self._config = dump_yaml(config)

    def save(self, path: Path, step: int) -> None:
        """Writes everything as one safetensors file, whole or not at all."""
        tensors: dict[str, Tensor] = {}
        for prefix, module in self._modules.items():
            tensors.update({f"{prefix}/{name}": tensor for name, tensor in module.state_dict().items()})
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()})
        save_tensors(tensors, {"step": str(step), "config": self._config}, path)

    def load(self, path: Path) -> int:
        """Restores everything and returns the step to go on with.

        Raises:
            UserError: the run was started with another configuration.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("config") != self._config:
            raise UserError(
                f"{path.parent}: was started with another configuration than the one given; see {CONFIG_FILE}"
            )
        for prefix, module in self._modules.items():
            start = f"{prefix}/"
            module.load_state_dict({n[len(start) :]: t for n, t in tensors.items() if n.startswith(start)})
        optimizer_state = self._optimizer.state_dict()
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, index, key = name.split("/", 2)
                optimizer_state["state"].setdefault(int(index), {})[key] = tensor
        self._optimizer.load_state_dict(optimizer_state)
        return int(metadata["step"])


def run_steps(
    title: str,
    steps: range,
    step: Callable[[int], dict[str, float]],
    log: MetricsLog,
    save: Callable[[int], None],
    save_every: int,
) -> None:
    """Runs ``step(i)`` for every step, with a progress bar, a log line each, and resumable saves.

    Ctrl-C (SIGINT) and SIGTERM are answered after the step in hand: its state is saved, then KeyboardInterrupt is
    raised.
    """
    with step_progress() as progress, _deferred_interrupts() as interrupted:
        task = progress.add_task(title, total=steps.stop, completed=steps.start, loss="")
        for i in steps:
            started = time.perf_counter()
            values = step(i)
            log.write("step", step=i, **values, seconds=round(time.perf_counter() - started, 4))
            progress.update(task, advance=1, loss=f"loss {values['loss']:.3f}")
            if interrupted() or ((i + 1) % save_every == 0 and i + 1 < steps.stop):
                save(i + 1)
            if interrupted():
                raise KeyboardInterrupt


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


def step_progress() -> Progress:
    """A progress bar with a ``loss`` field (any short text), rate and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=14),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        _RateColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )


@contextmanager
def _deferred_interrupts() -> Iterator[Callable[[], bool]]:
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received.is_set  # only the main thread may install handlers
        return

    def remember(_number: int, _frame: FrameType | None) -> None:
        received.set()

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
