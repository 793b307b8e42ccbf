"""Adaptation of a source model to unlabelled video: calibration, batch-norm, then the method's training."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from stpl.data.batches import PreparedVideo
from stpl.data.dataset import VideoDataset
from stpl.data.flow import flow_on
from stpl.data.flow_cache import open_flow_cache
from stpl.errors import UserError
from stpl.method.reduction import is_main_process, wait_for_all
from stpl.train.accel import clips_of, train_accel
from stpl.train.carried import stream_flow
from stpl.train.checkpoint import FILE_NAME, Checkpoint, InputConfig, save_checkpoint
from stpl.train.config import UNTRAINED, AdaptConfig
from stpl.train.guarding import allowed, why_not_train, why_nothing_helps
from stpl.train.processes import Processes
from stpl.train.run import (
    ACCEPTED_FILE,
    METRICS_FILE,
    RESUME_FILE,
    MetricsLog,
    data_identity,
    require_same_run,
    write_config,
)
from stpl.train.stages import calibrate_input, estimate_batch_norm
from stpl.train.training import OnSnapshot, Training, autocast


def adapt(
    config: AdaptConfig,
    source: Checkpoint,
    target: VideoDataset,
    out: Path,
    *,
    resume: bool = False,
    on_snapshot: OnSnapshot | None = None,
) -> Checkpoint:
    """Adapts ``source`` to the frames of ``target``; labels, where the data set has some, are never read.

    Args:
        out: the run's folder: checkpoint, configuration, metrics.
        on_snapshot: called with the step and the teacher's checkpoint every ``config.snapshot_every`` steps.

    Returns:
        The adapted checkpoint, also written to ``out/checkpoint.safetensors``.

    Raises:
        UserError: no two consecutive frames to adapt on, a run that cannot be resumed, or settings that this machine
            cannot follow.
        KeyboardInterrupt: after Ctrl-C, with the state saved.
    """
    if all(target.previous(index) is None for index in range(len(target))):
        raise UserError(f"{target.name}: expected consecutive frames of a video; found {len(target)} single frame(s)")
    if config.accel.enabled:
        clips_of(config.accel, PreparedVideo(target, source.input.spec()))
    processes = Processes.start(config.device)
    processes.places(config.batch_size, config.accumulate)  # what cannot be done is said before anything is written
    autocast(config.precision, processes.device)
    out.mkdir(parents=True, exist_ok=True)
    origin = {"target": data_identity(target, flow=True), "source model": source.digest}
    resume = resume and (out / RESUME_FILE).is_file()  # a run killed before its first step begins again
    if resume:
        require_same_run(out / RESUME_FILE, config, origin)
    write_config(config, out)
    log = MetricsLog(out / METRICS_FILE)
    if not resume:
        log.forget()
    started = time.perf_counter()
    adapted = _adapted(config, source, target, out, log, origin, processes, resume, on_snapshot)
    seconds = round(time.perf_counter() - started, 1)
    log.write("done", seconds=seconds)
    provenance = {"method": config.method, "target": target.name, "seed": config.seed, "steps": config.steps}
    result = replace(adapted, provenance={**adapted.provenance, **provenance})
    if is_main_process():
        _finish(config, result, target, out, log, processes)
    wait_for_all()
    return result


def _finish(
    config: AdaptConfig, adapted: Checkpoint, target: VideoDataset, out: Path, log: MetricsLog, processes: Processes
) -> None:
    """Accel mode, where it is asked for, and the files of a finished run."""
    # Whatever becomes of accel mode. Without a state to resume, a checkpoint says that there is nothing left to do.
    saved_before = (out / RESUME_FILE).is_file()
    if saved_before:
        save_checkpoint(adapted, out / FILE_NAME)
    if config.accel.enabled:
        _train_accel(config, adapted, target, out, log, processes)
    if not saved_before:
        save_checkpoint(adapted, out / FILE_NAME)
    # In this order: as long as there is something to resume, what it may be taken back to is there, too.
    (out / RESUME_FILE).unlink(missing_ok=True)
    (out / ACCEPTED_FILE).unlink(missing_ok=True)


def _train_accel(
    config: AdaptConfig, adapted: Checkpoint, target: VideoDataset, out: Path, log: MetricsLog, processes: Processes
) -> None:
    video = PreparedVideo(target, adapted.input.spec(), flow=stream_flow)
    train_accel(
        config.accel, adapted, video, out, log, seed=config.seed, device=processes.device, workers=config.workers
    )


def _adapted(
    config: AdaptConfig,
    source: Checkpoint,
    target: VideoDataset,
    out: Path,
    log: MetricsLog,
    origin: dict[str, str],
    processes: Processes,
    resume: bool,
    on_snapshot: OnSnapshot | None,
) -> Checkpoint:
    """The stages of ``config.method``, one after the other, as far as the guard lets them."""
    if config.method == "source":
        return source
    stage_log = None if resume else log
    guard, device = config.guard, processes.device
    if not allowed(guard, "adapt", lambda: why_nothing_helps(guard, source, target, device), stage_log, processes):
        return source
    adapted = calibrate_input(config, source, target, stage_log, device)
    adapted = _same_everywhere(adapted, processes)
    compute = flow_on(str(device))
    flow = open_flow_cache(config.flow_cache, config.flow_cache_gigabytes, compute) or compute
    video = PreparedVideo(target, adapted.input.spec(), flow=flow, flow_by_chance=compute)
    adapted = estimate_batch_norm(config, adapted, video, stage_log, device)
    if config.method in UNTRAINED:
        return adapted
    if not allowed(guard, "train", lambda: why_not_train(guard, target), stage_log, processes):
        return adapted
    return Training(config, adapted, video, out, log, origin, processes).run(resume, on_snapshot)


def _same_everywhere(checkpoint: Checkpoint, processes: Processes) -> Checkpoint:
    """The main process's choice of input: on unlike machines a tie may fall either way."""
    chosen = processes.same_text(checkpoint.input.model_dump_json())
    return replace(checkpoint, input=InputConfig.model_validate_json(chosen))
