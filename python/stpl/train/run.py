"""A run's folder, its log, and the loop that can be interrupted and resumed at any step."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
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
from stpl.data.dataset import VideoDataset, files_digest
from stpl.errors import UserError
from stpl.method.reduction import is_main_process, wait_for_all
from stpl.train.checkpoint import FILE_NAME, load_tensors, save_tensors

RESUME_FILE = "resume.safetensors"
CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.jsonl"
REPORT_FILE = "report.html"


ACCEPTED_FILE = "accepted.safetensors"
"""The training state at the last snapshot that the guard accepted, while a run goes on."""

ACCEL_FILE = "accel.safetensors"
"""The networks of the runtime's accel mode, where they were asked for."""

RUN_FILES = (FILE_NAME, RESUME_FILE, ACCEPTED_FILE, ACCEL_FILE, METRICS_FILE, CONFIG_FILE, REPORT_FILE)
AT_THE_END = ("selected", "accel", "done")
"""Events after the last step; a run that was killed there, before its checkpoint was written, logs them again."""
REPLACED = ".replaced"
"""Where the files of a run that is being replaced wait until the new one has something to show."""


@contextmanager
def run_folder(out: Path, *, overwrite: bool = False, resume: bool = False) -> Iterator[None]:
    """The folder of a run while it runs: made, or refused where it holds a run that nobody said to replace or resume.

    With ``overwrite`` the old run's files are put aside, and dropped only when the new run has written a checkpoint
    or a state that resumes; if it fails before that, they come back. Of several processes, the main one sees to it.

    Raises:
        UserError: the folder holds a run and neither ``overwrite`` nor ``resume`` is given, or it holds none and
            ``resume`` is, or something else that is not a run is in the way.
    """
    if not is_main_process():
        wait_for_all()
        yield
        return
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder for the run's output; found a file")
    _finish_replacing(out)  # of a run that was killed
    _check_run_folder(out, overwrite, resume)
    existed = out.exists()
    out.mkdir(parents=True, exist_ok=True)
    if overwrite and not resume:
        _move(RUN_FILES, out, out / REPLACED)
    for unfinished in out.glob(".*.tmp"):  # of a run that was killed while it wrote
        unfinished.unlink(missing_ok=True)
    wait_for_all()
    try:
        yield
    finally:
        _finish_replacing(out)
        if not existed and not any(out.iterdir()):
            out.rmdir()


def _check_run_folder(out: Path, overwrite: bool, resume: bool) -> None:
    if resume and not (out / RESUME_FILE).is_file():
        if (out / FILE_NAME).is_file():
            raise UserError(f"{out}: nothing to resume: the run is complete; start anew with --overwrite")
        # Killed before its first step, even before its settings were written, a run begins again.
        empty = out.is_dir() and all(file.name.startswith(".") for file in out.iterdir())
        if not empty and not (out / CONFIG_FILE).is_file():
            raise UserError(f"{out}: expected an interrupted run to resume ({RESUME_FILE}); found none")
    holds_run = any((out / name).exists() for name in (FILE_NAME, RESUME_FILE, METRICS_FILE))
    if holds_run and not (overwrite or resume):
        raise UserError(f"{out}: already holds a run; continue it with --resume or replace it with --overwrite")


def _finish_replacing(out: Path) -> None:
    """Drops what was put aside where the new run has something to show, else brings it back."""
    aside = out / REPLACED
    if not aside.is_dir():
        return
    if not any((out / name).is_file() for name in (FILE_NAME, RESUME_FILE)):
        for name in RUN_FILES:
            (out / name).unlink(missing_ok=True)
        _move(RUN_FILES, aside, out)
    shutil.rmtree(aside)


def _move(names: Sequence[str], source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name in names:
        if (source / name).is_file():
            (source / name).replace(target / name)


def write_config(config: Config, out: Path) -> None:
    """``config.yaml``, under a temporary name first; by the main process."""
    if not is_main_process():
        return
    unfinished = out / f".{CONFIG_FILE}.tmp"
    unfinished.write_text(dump_yaml(config), encoding="utf-8")
    unfinished.replace(out / CONFIG_FILE)


class MetricsLog:
    """``metrics.jsonl``: one JSON object a line, each with its ``event``; written by the main process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **values: Any) -> None:
        if not is_main_process():
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **values}) + "\n")

    def forget(self) -> None:
        """Drops everything: a run begins."""
        if is_main_process():
            self.path.unlink(missing_ok=True)

    def forget_from(self, step: int) -> None:
        """Drops what an interrupted run logged beyond the step it is resumed from."""
        if not is_main_process() or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the last line of a run that was killed while writing it
                continue
            if entry.get("step", -1) < step and entry["event"] not in AT_THE_END:
                kept.append(line)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        temporary.replace(self.path)


class Stateful(Protocol):
    """What can be resumed beside networks: a guard, a loss scaler."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, and values that JSON knows, by name."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class ResumeState:
    """Modules, an optimiser and whatever else has a state, saved and restored together with the step.

    Args:
        modules: by name.
        optimizer: of their parameters.
        config: of the run.
        origin: what else the run depends on, by name: the data, the source model.
        parts: further state, by name.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        config: Config,
        origin: Mapping[str, str],
        parts: Mapping[str, Stateful] | None = None,
    ) -> None:
        self._modules = modules
        self._optimizer = optimizer
        self._origin = {"config": config.model_dump(mode="json"), **origin}
        self._parts = parts or {}

    def save(self, path: Path, step: int, also: Path | None = None) -> None:
        """Writes everything as one safetensors file, whole or not at all.

        The main process writes; all wait for it, so that any of them may load what was saved.

        Args:
            also: a second name for the file. It has the new state before ``path`` does.
        """
        if is_main_process():
            self._write(path, step, also)
        wait_for_all()

    def _write(self, path: Path, step: int, also: Path | None) -> None:
        tensors: dict[str, Tensor] = {}
        values: dict[str, dict[str, Any]] = {}
        for prefix, module in self._modules.items():
            tensors.update({f"{prefix}/{name}": tensor for name, tensor in module.state_dict().items()})
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors.update({f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in state.items()})
        for prefix, part in self._parts.items():
            state = part.state_dict()
            tensors.update({f"{prefix}/{name}": value for name, value in state.items() if isinstance(value, Tensor)})
            values[prefix] = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
        metadata = {"step": str(step), "origin": json.dumps(self._origin), "values": json.dumps(values)}
        save_tensors(tensors, metadata, path, also)

    def load(self, path: Path) -> int:
        """Restores everything and returns the step to go on with; what else the file holds is left alone.

        Raises:
            UserError: the file is broken.
        """
        tensors, metadata = load_tensors(path)
        values = json.loads(metadata["values"])
        for prefix, module in self._modules.items():
            module.load_state_dict(_below(prefix, tensors))
        for prefix, part in self._parts.items():
            part.load_state_dict({**_below(prefix, tensors), **values[prefix]})
        optimizer_state = self._optimizer.state_dict()
        for name, tensor in _below("optimizer", tensors).items():
            index, key = name.split("/", 1)
            optimizer_state["state"].setdefault(int(index), {})[key] = tensor
        self._optimizer.load_state_dict(optimizer_state)
        _lay_out_as_weights(self._optimizer)
        return int(metadata["step"])


def _lay_out_as_weights(optimizer: torch.optim.Optimizer) -> None:
    """Restored moments in the memory format of their weights: fused kernels pair the two by place in memory."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def require_same_run(path: Path, config: Config, origin: Mapping[str, str]) -> None:
    """Refuses to resume a run with another configuration, on other data or from another model than it began with.

    Raises:
        UserError: naming the first difference.
    """
    started = json.loads(load_tensors(path)[1]["origin"])
    difference = first_difference(started, {"config": config.model_dump(mode="json"), **origin})
    if difference is not None:
        key, expected, found = difference
        raise UserError(
            f"{path.parent}: expected what the run was started with, {key} = {expected}; found {key} = {found}: "
            "resume it with the same command, or start anew with --overwrite"
        )


def first_difference(before: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """(dotted key, value, value) of the first leaf in which two trees differ."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return None if before == now else (name, before, now)
    for key in [*before, *(key for key in now if key not in before)]:
        found = first_difference(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
        if found is not None:
            return found
    return None


def data_identity(dataset: VideoDataset, *, labels: bool = False, flow: bool = False) -> str:
    """Tells one data set from another without reading all of it.

    By name, number of frames, digest of the first, and, where it lies in files, their names, sizes and times of change:
    those of the frames, and of the labels and the stored flow where they are used.
    """
    digest = hashlib.sha256(np.ascontiguousarray(dataset.frame(0)).tobytes()).hexdigest()
    files = dataset.files(labels=labels, flow=flow)
    told = f", {files_digest(files)}" if files else ""
    return f"{dataset.name}, {len(dataset)} frames, {digest[:12]}{told}"


Values = Mapping[str, float] | Callable[[], Mapping[str, float]]


def run_steps(
    title: str,
    steps: range,
    step: Callable[[int], Values],
    log: MetricsLog,
    save: Callable[[int], None],
    save_every: int,
    any_process: Callable[[bool], Callable[[], bool]] = lambda flag: lambda: flag,
    finished: Callable[[], bool] = lambda: False,
    save_after: Callable[[int], bool] = lambda _: False,
    ahead: int = 0,
) -> None:
    """Runs ``step(i)`` for every step, with a progress bar, a log line each, and resumable saves.

    Ctrl-C (SIGINT) and SIGTERM are answered after the step in hand: its state is saved, then KeyboardInterrupt is
    raised.

    Args:
        step: its values by name, or a function to ask for them once they have been computed.
        any_process: given whether this process is to stop, a function that says whether any of those that share the
            steps is: they stop after the same one.
        finished: asked before each step; where it says yes, the remaining ones are left out.
        save_after: whether to save after so many steps, beside every ``save_every``.
        ahead: steps that may have been begun before the values of one are asked for: a GPU then always has work.
    """
    with step_progress() as progress, _deferred_interrupts() as interrupted:
        task = progress.add_task(title, total=steps.stop, completed=steps.start, loss="")
        pending: deque[tuple[int, Values, Callable[[], bool]]] = deque()
        since = time.perf_counter()

        def settle(most: int) -> bool:
            """Logs the oldest steps until at most ``most`` are pending; whether one of them was the last to be."""
            nonlocal since
            stop = False
            while len(pending) > most:
                number, found, stops = pending.popleft()
                values = found() if callable(found) else found
                now = time.perf_counter()
                log.write("step", step=number, **values, seconds=round(now - since, 4))
                progress.update(task, advance=1, loss=f"loss {values['loss']:.3f}")
                stop, since = stops() or stop, now
            return stop

        for i in steps:
            if finished():
                break
            if not pending:
                since = time.perf_counter()
            pending.append((i, step(i), any_process(interrupted())))
            saves = ((i + 1) % save_every == 0 and i + 1 < steps.stop) or save_after(i + 1)
            stop = settle(ahead)
            if stop or saves:
                stop = settle(0) or stop
                save(i + 1)
            if stop:
                raise KeyboardInterrupt
        last = pending[-1][0] if pending else steps.start
        if settle(0):
            save(last + 1)
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
        disable=not is_main_process(),
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
