"""Executes runs that have no result yet, several at a time, each in a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from execution import BUSY, CHANGED, INTERRUPTED, snapshot_file, write_json
from record import COMMIT
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from runs import JOB_FILE, Bench, Run

from stpl.train.run import METRICS_FILE

logger = logging.getLogger(__name__)
LOG_FILE = "log.txt"


@dataclass
class _Process:
    run: Run
    folder: Path
    process: subprocess.Popen[bytes]
    task: TaskID
    started: float = field(default_factory=time.monotonic)


class Runner:
    """Runs until all are done; a failed run is reported and stops no other.

    Args:
        bench: where results are kept.
        jobs: processes at a time, of one thread each.
        console: for progress and messages.
    """

    def __init__(self, bench: Bench, jobs: int, console: Console | None = None) -> None:
        if jobs < 1:
            raise ValueError(f"expected 1 job or more, found {jobs}")
        self.bench = bench
        self.jobs = jobs
        self.console = console if console is not None else Console(stderr=True, soft_wrap=True)
        self.failed: list[Path] = []
        """Folders of the runs that failed; each holds a log.txt."""
        self._active: list[_Process] = []
        self._waiting: deque[tuple[Run, bool]] = deque()
        self._done_seconds: list[float] = []

    def missing(self, runs: Iterable[Run], keep_snapshots: Callable[[Run], bool]) -> list[tuple[Run, bool]]:
        """The runs without a result, each once, and whether to keep its snapshots."""
        wanted: dict[Path, tuple[Run, bool]] = {}
        for run in runs:
            folder, keep = self.bench.folder(run), keep_snapshots(run)
            keep = keep or (folder in wanted and wanted[folder][1])
            if self._lacks(run, keep):
                wanted[folder] = (run, keep)
        return list(wanted.values())

    def execute(self, runs: Iterable[tuple[Run, bool]]) -> bool:
        """Executes runs, each with whether to keep its snapshots; False where it was interrupted."""
        self._waiting = deque(runs)
        total = len(self._waiting)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[note]}"))
        # Both end it alike, also where it was started in the background, with SIGINT ignored.
        before = {
            number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)
        }
        with Progress(*columns, TimeElapsedColumn(), console=self.console) as progress:
            overall = progress.add_task("runs", total=max(1, total), note=f"0/{total}")
            try:
                while self._waiting or self._active:
                    self._start_next(progress)
                    self._collect(progress)
                    self._show(progress, overall, total)
                    time.sleep(0.2)
            except KeyboardInterrupt:
                self.console.print("interrupted: the runs in hand save their state; the same command goes on")
                return False
            finally:
                self._interrupt()
                for number, handler in before.items():
                    signal.signal(number, handler)
        return True

    def _lacks(self, run: Run, keep_snapshots: bool) -> bool:
        result = self.bench.result(run)
        if result is None or not keep_snapshots:
            return result is None
        steps = (int(step) for step in result.get("snapshots", {}))
        return not all(snapshot_file(self.bench.folder(run), step).is_file() for step in steps)

    def _start_next(self, progress: Progress) -> None:
        while self._waiting and len(self._active) < self.jobs:
            run, keep = self._waiting.popleft()
            folder = self.bench.folder(run)
            if not self._lacks(run, keep):
                continue  # another command has been at it
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / JOB_FILE, {**self.bench.job(run), "commit": COMMIT, "keep_snapshots": keep})
            task = progress.add_task(run.label, total=max(1, run.steps), note="")
            self._active.append(_Process(run, folder, self._start(folder), task))

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        with (folder / LOG_FILE).open("ab") as log:
            # A session of its own: Ctrl-C reaches the worker once, from here.
            return subprocess.Popen(
                [sys.executable, str(self.bench.root / "benchmarks" / "worker.py"), str(folder)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    def _collect(self, progress: Progress) -> None:
        for active in [*self._active]:
            code = active.process.poll()
            if code is None:
                steps = _steps_done(active.folder)
                progress.update(active.task, completed=steps, note=f"{steps}/{active.run.steps}")
                continue
            self._active.remove(active)
            progress.remove_task(active.task)
            seconds = time.monotonic() - active.started
            if code == 0:
                self._done_seconds.append(seconds)
            elif code not in (BUSY, INTERRUPTED):
                self.failed.append(active.folder)
            said = {
                0: f"done in {seconds:.0f} s",
                BUSY: "another process is at it",
                CHANGED: "not run: the code changed while it was being copied",
                INTERRUPTED: "interrupted",
            }
            what = said.get(code, f"failed: {_last_line(active.folder / LOG_FILE)} ({active.folder / LOG_FILE})")
            progress.console.print(f"{active.run.label}: {what}", highlight=False, markup=False)

    def _show(self, progress: Progress, overall: TaskID, total: int) -> None:
        shares = [_steps_done(a.folder) / max(1, a.run.steps) for a in self._active]
        done = total - len(self._waiting) - len(self._active) + sum(shares)
        note = f"{int(done)}/{total}"
        if self._done_seconds:
            left = (total - done) * sum(self._done_seconds) / len(self._done_seconds) / self.jobs
            note += f", about {left / 60:.0f} min left"
        progress.update(overall, completed=done, note=note)

    def _interrupt(self) -> None:
        """Tells the workers that are left to save their state, and waits for them."""
        for active in self._active:
            active.process.send_signal(signal.SIGINT)
        for active in self._active:
            active.process.wait()
        self._active.clear()


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def _steps_done(folder: Path) -> int:
    """Steps logged so far, over the folder's trainings."""
    done = 0
    for file in folder.rglob(METRICS_FILE):
        try:
            done += file.read_text(encoding="utf-8").count('"event": "step"')
        except OSError:
            continue
    return done
