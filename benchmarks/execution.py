"""Executes one run: adapts or trains, measures, writes the result. Interrupted, it goes on at the next start."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from runs import JOB_FILE, RESULT_FILE, Adaptation, Bench, FineTuning, SourceTraining
from videos import Part, halves, open_camvid_day, open_video

import stpl_rt  # noqa: F401  the runtime's library before anything else loads one
from stpl.data.dataset import VideoDataset
from stpl.evaluate import Predictor
from stpl.metrics import ConfusionMatrix
from stpl.train.adapt import adapt
from stpl.train.checkpoint import Checkpoint, save_checkpoint
from stpl.train.run import METRICS_FILE, RESUME_FILE
from stpl.train.source import train_source

PROGRESS_FILE = "progress.json"
SNAPSHOTS = "snapshots"
BUSY, CHANGED, INTERRUPTED = 75, 76, 130
"""Exit codes: another process is at this run; the code is no longer what the run is keyed by; stopped by Ctrl-C."""


@dataclass
class Progress:
    """What is known of a run before it is finished, on disk after every snapshot.

    Attributes:
        snapshots: by step: mIoU and the checkpoint's digest.
        seconds: spent, measuring left out.
        cpu_seconds: the same of the processor, over all threads.
    """

    file: Path
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    _since: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, folder: Path, resumed: bool) -> Progress:
        progress = cls(folder / PROGRESS_FILE)
        if resumed and progress.file.is_file():
            stored = json.loads(progress.file.read_text(encoding="utf-8"))
            progress.snapshots = stored["snapshots"]
            progress.seconds, progress.cpu_seconds = stored["seconds"], stored["cpu_seconds"]
        progress.start()
        return progress

    def start(self) -> None:
        """Lets the clocks run."""
        self._since = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """Stops the clocks and writes down what is known."""
        self.seconds += time.perf_counter() - self._since[0]
        self.cpu_seconds += time.process_time() - self._since[1]
        known = {"snapshots": self.snapshots, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}
        write_json(self.file, known)


class Measure:
    """mIoU of checkpoints on labelled video: over all labelled frames, and over each half of them."""

    def __init__(self, video: VideoDataset) -> None:
        self.video = video
        self.halves = halves(video)

    def __call__(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Percent; ``iou`` by class, None where absent from labels and predictions."""
        parts = [self._confusion(checkpoint, frames) for frames in self.halves]
        whole = ConfusionMatrix(len(checkpoint.classes))
        for part in parts:
            whole.merge(part)
        named = whole.to_dict(checkpoint.classes.names)
        return {
            "all": 100 * named["miou"],
            "halves": [100 * part.miou for part in parts if part.miou is not None],
            "iou": named["iou"],
        }

    def half(self, checkpoint: Checkpoint, index: int) -> float:
        """mIoU over one half, percent."""
        miou = self._confusion(checkpoint, self.halves[index]).miou
        assert miou is not None
        return 100 * miou

    def _confusion(self, checkpoint: Checkpoint, frames: list[int]) -> ConfusionMatrix:
        predict = Predictor(checkpoint)
        confusion = ConfusionMatrix(len(checkpoint.classes))
        for index in frames:
            label = self.video.label(index)
            assert label is not None
            confusion.update(predict(self.video.frame(index)), label)
        return confusion


def run_adaptation(bench: Bench, run: Adaptation, folder: Path, keep_snapshots: bool) -> dict[str, Any]:
    """Adapts, measuring every snapshot; labels serve the measuring alone."""
    video, measured = open_video(run.domain, bench.camvid)
    measure = Measure(measured)
    resumed = _resumable(folder)
    progress = Progress.of(folder, resumed)

    def on_snapshot(step: int, checkpoint: Checkpoint) -> None:
        progress.stop()
        progress.snapshots[str(step)] = {**measure(checkpoint), "digest": checkpoint.digest}
        if keep_snapshots:
            save_checkpoint(checkpoint, snapshot_file(folder, step))
        progress.start()

    adapted = adapt(run.config, bench.source(run.domain), video, folder, resume=resumed, on_snapshot=on_snapshot)
    progress.stop()
    steps = {snapshot["digest"]: int(step) for step, snapshot in progress.snapshots.items()}
    selected_step = steps.get(adapted.digest, 0) if run.steps else None
    outcome = {
        "selected": {**measure(adapted), "step": selected_step},
        "snapshots": progress.snapshots,
        "seconds": progress.seconds,
        "cpu_seconds": progress.cpu_seconds,
        "gamma": adapted.provenance.get("calibration_gamma"),
        "guard": [*_events(folder, "guard_stage"), *_events(folder, "guard")],
    }
    progress.file.unlink(missing_ok=True)
    return outcome


def run_fine_tuning(bench: Bench, run: FineTuning, folder: Path) -> dict[str, Any]:
    """The oracle: each half of the frames by the model that was trained on the other half's labels."""
    _, measured = open_video(run.domain, bench.camvid)
    measure, started = Measure(measured), time.perf_counter()
    start = adapt(run.start.config, bench.source(run.domain), measured, folder / "start")
    scores = [0.0, 0.0]
    for learned, frames in enumerate(measure.halves):
        part = Part(measured, f"half {learned}", labelled=frames)
        out = folder / f"half-{learned}"
        tuned = train_source(run.config, part, out, resume=(out / RESUME_FILE).is_file(), initial=start)
        scores[1 - learned] = measure.half(tuned, 1 - learned)
    return {"selected": {"halves": scores}, "seconds": time.perf_counter() - started}


def run_source_training(bench: Bench, run: SourceTraining, folder: Path) -> dict[str, Any]:
    """The CamVid source model."""
    started = time.perf_counter()
    train_source(run.config, open_camvid_day(bench.camvid), folder, resume=(folder / RESUME_FILE).is_file())
    return {"seconds": time.perf_counter() - started}


def execute(folder: Path) -> bool:
    """Executes the job in a run's folder and writes its result; False where the code is no longer the job's."""
    job = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
    bench, run = Bench.of_job(job, folder.parent)
    if bench.key(run) != job["key"]:
        return False
    if isinstance(run, SourceTraining):
        result = run_source_training(bench, run, folder)
    elif isinstance(run, FineTuning):
        result = run_fine_tuning(bench, run, folder)
    else:
        result = run_adaptation(bench, run, folder, job["keep_snapshots"])
    about = {"key": job["key"], "label": run.label, "commit": job["commit"], "peak_mebibytes": peak_mebibytes()}
    write_json(folder / RESULT_FILE, {**about, **result})
    return True


def snapshot_file(folder: Path, step: int) -> Path:
    """Where a run keeps a snapshot's weights, if it keeps them."""
    return folder / SNAPSHOTS / f"step-{step:06d}.safetensors"


def peak_mebibytes() -> float:
    """The most memory this process held at once, PyTorch's libraries and the decoded video included."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_json(path: Path, content: Any) -> None:
    """Under a temporary name first."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)


@contextmanager
def locked(folder: Path) -> Any:
    """True inside where no other process works at this run."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _resumable(folder: Path) -> bool:
    """Whether the folder holds an interrupted state to go on from; anything else in it is cleared away."""
    if (folder / RESUME_FILE).is_file():
        return True
    shutil.rmtree(folder / SNAPSHOTS, ignore_errors=True)
    (folder / METRICS_FILE).unlink(missing_ok=True)
    return False


def _events(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


def execute_locked(folder: Path) -> int:
    """Executes the job where no other process does; the exit code to leave with."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # may have been inherited as ignored
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with locked(folder) as free:
        if not free:
            return BUSY
        try:
            return 0 if execute(folder) else CHANGED
        except KeyboardInterrupt:
            return INTERRUPTED
