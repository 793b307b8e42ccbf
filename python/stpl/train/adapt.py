"""Adaptation of a source model to unlabelled video: calibration, batch-norm, then the method's training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

import stpl_rt
from stpl.config import Config
from stpl.data.batches import PairBatch, PreparedVideo, prefetched
from stpl.data.dataset import VideoDataset
from stpl.data.randomness import batch_indices, seed_step
from stpl.errors import UserError
from stpl.method.augment import AugmentationConfig, PairAugmentation
from stpl.method.batch_norm import BatchNormConfig, batch_norm_layers, reestimate_batch_norm
from stpl.method.calibration import CalibrationConfig, Lut, calibrate, candidates, gamma_lut, scores_as_dicts
from stpl.method.pseudo_labels import PseudoLabelConfig, PseudoLabeller
from stpl.method.self_training import SelfTraining, Views
from stpl.method.stpl import ContrastConfig, Stpl
from stpl.train.checkpoint import FILE_NAME, Checkpoint, InputConfig, save_checkpoint
from stpl.train.ema import make_teacher, update_teacher
from stpl.train.run import (
    METRICS_FILE,
    RESUME_FILE,
    MetricsLog,
    ResumeState,
    data_identity,
    require_same_run,
    run_steps,
    step_progress,
    write_config,
)

logger = logging.getLogger(__name__)

Method = Literal["stpl", "spatial", "temporal", "spatial+temporal", "self-training", "bn"]


class AdaptConfig(Config):
    """Everything that an adaptation depends on, but the source checkpoint and the video."""

    method: Method = "stpl"
    steps: int = Field(100, ge=1)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    ema_decay: float = Field(0.98, ge=0, lt=1)
    """Of the teacher, a step; the teacher is what comes out."""
    precision: Literal["f32", "bf16"] = "f32"
    seed: int = Field(0, ge=0)
    snapshot_every: int = Field(25, ge=1)
    save_every: int = Field(50, ge=1)
    """Steps between resumable saves."""
    calibration: CalibrationConfig = CalibrationConfig()
    batch_norm: BatchNormConfig = BatchNormConfig()
    pseudo_labels: PseudoLabelConfig = PseudoLabelConfig()
    contrast: ContrastConfig = ContrastConfig()
    augmentation: AugmentationConfig = AugmentationConfig()


OnSnapshot = Callable[[int, Checkpoint], None]


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
        UserError: no two consecutive frames to adapt on, or a run that cannot be resumed.
        KeyboardInterrupt: after Ctrl-C, with the state saved.
    """
    if all(target.previous(index) is None for index in range(len(target))):
        raise UserError(f"{target.name}: expected consecutive frames of a video; found {len(target)} single frame(s)")
    out.mkdir(parents=True, exist_ok=True)
    origin = {"target": data_identity(target), "source model": source.digest}
    if resume:
        require_same_run(out / RESUME_FILE, config, origin)
    write_config(config, out)
    log = MetricsLog(out / METRICS_FILE)
    started = time.perf_counter()
    calibrated = calibrate_input(config, source, target, None if resume else log)
    video = PreparedVideo(target, calibrated.input.spec())
    adapted = estimate_batch_norm(config, calibrated, video, None if resume else log)
    if config.method != "bn":
        adapted = _Training(config, adapted, video, out, log, origin).run(resume, on_snapshot)
    seconds = round(time.perf_counter() - started, 1)
    log.write("done", seconds=seconds)
    provenance = {"method": config.method, "target": target.name, "seed": config.seed, "steps": config.steps}
    result = Checkpoint(
        adapted.arch, adapted.classes, adapted.input, adapted.weights, {**adapted.provenance, **provenance}
    )
    save_checkpoint(result, out / FILE_NAME)
    (out / RESUME_FILE).unlink(missing_ok=True)
    return result


def calibrate_input(
    config: AdaptConfig, source: Checkpoint, target: VideoDataset, log: MetricsLog | None = None
) -> Checkpoint:
    """The first stage: the source model with the tone curve that suits the target; weights unchanged."""
    if not config.calibration.enabled:
        return source
    frames = [target.frame(index) for index in spread(len(target), config.calibration.frames)]

    def prepared(lut: Lut | None) -> Sequence[Tensor]:
        spec = _with_lut(source.input, lut).spec()
        return [torch.from_numpy(stpl_rt.preprocess(frame, spec))[None] for frame in frames]

    with step_progress() as progress:
        task = progress.add_task("input calibration", total=len(candidates(config.calibration)), loss="")
        gamma, scores = calibrate(
            source.build(),
            prepared,
            config.calibration,
            batch_norm_blend=config.batch_norm.blend if config.batch_norm.enabled else 0.0,
            progress=lambda: progress.advance(task),
        )
        progress.update(task, loss=f"gamma {gamma:g}")
    logger.info("calibration: gamma %.2f by %s", gamma, config.calibration.criterion)
    if log is not None:
        log.write(
            "calibration", criterion=config.calibration.criterion, candidates=scores_as_dicts(scores), chosen=gamma
        )
    lut = None if gamma == 1.0 else gamma_lut(gamma)
    calibrated_input = _with_lut(source.input, lut)
    provenance = {**source.provenance, "calibration_gamma": gamma}
    return Checkpoint(source.arch, source.classes, calibrated_input, source.weights, provenance)


def estimate_batch_norm(
    config: AdaptConfig, checkpoint: Checkpoint, video: PreparedVideo, log: MetricsLog | None = None
) -> Checkpoint:
    """The second stage: batch-norm statistics moved towards the target's."""
    if not config.batch_norm.enabled:
        return checkpoint
    model = checkpoint.build()
    indices = spread(len(video.dataset), config.batch_norm.frames)
    with step_progress() as progress:
        task = progress.add_task("batch-norm statistics", total=len(indices), loss="")

        def images() -> Iterator[Tensor]:
            for index in indices:  # one frame a batch: each weighs the same
                yield video.image(index)[None]
                progress.advance(task)

        layers = reestimate_batch_norm(model, images(), config.batch_norm.blend)
    if log is not None:
        log.write("batch_norm", layers=layers, frames=len(indices), blend=config.batch_norm.blend)
    return checkpoint.with_weights(model)


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` of the positions 0 .. count-1, spread evenly, ascending."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})


class _Training:
    """The third stage: the method's steps, with batches prepared ahead, snapshots and resumable saves."""

    def __init__(
        self,
        config: AdaptConfig,
        start_from: Checkpoint,
        video: PreparedVideo,
        out: Path,
        log: MetricsLog,
        origin: dict[str, str],
    ) -> None:
        self.config = config
        self.start_from = start_from
        self.video = video
        self.log = log
        self.resume_file = out / RESUME_FILE
        torch.manual_seed(config.seed)
        self.adaptation = _Adaptation(config, start_from)
        self.state = ResumeState(self.adaptation.modules, self.adaptation.optimizer, config, origin)

    def run(self, resume: bool, on_snapshot: OnSnapshot | None) -> Checkpoint:
        start = self.state.load(self.resume_file) if resume else 0
        self.log.forget_from(start)
        steps = range(start, self.config.steps)
        batches = prefetched(self._batch, steps)
        probes = [self.video.image(index) for index in spread(len(self.video.dataset), 8)]

        def step(i: int) -> dict[str, float]:
            values = self.adaptation.step(i, next(batches)[1])
            if (i + 1) % self.config.snapshot_every == 0 or i + 1 == self.config.steps:
                self.log.write("snapshot", **describe(self.adaptation.teacher, probes), step=i)
                if on_snapshot is not None:
                    on_snapshot(i + 1, self._result())
            return values

        title = f"{self.config.method} on {self.video.dataset.name}"
        run_steps(title, steps, step, self.log, self._save, self.config.save_every)
        return self._result()

    def _batch(self, step: int) -> PairBatch:
        chosen = batch_indices(len(self.video.pairs), self.config.batch_size, self.config.seed, step)
        return self.video.pair_batch([self.video.pairs[i] for i in chosen])

    def _save(self, step: int) -> None:
        self.state.save(self.resume_file, step)

    def _result(self) -> Checkpoint:
        return self.start_from.with_weights(self.adaptation.teacher)


class _Adaptation:
    """Student, teacher, objective and optimiser, and one step of them."""

    def __init__(self, config: AdaptConfig, start_from: Checkpoint) -> None:
        self.config = config
        self.student = start_from.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = make_teacher(self.student)
        self.augment = PairAugmentation(config.augmentation, start_from.input.mean, start_from.input.std)
        self.objective = build_objective(config, self.student)
        self.modules = {"student": self.student, "teacher": self.teacher, "objective": self.objective}
        parameters = [*self.student.parameters(), *self.objective.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)

    def step(self, step: int, batch: PairBatch) -> dict[str, float]:
        seed_step(self.config.seed, step)
        present, past = (x.contiguous(memory_format=torch.channels_last) for x in (batch.present, batch.past))
        present_augmented, past_augmented = self.augment(present, past)
        views = Views(present, past, present_augmented, past_augmented, batch.flow)
        self.student.train()
        for layer in batch_norm_layers(self.student):
            layer.eval()  # the statistics are those of the stage before; small batches would blur them
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.precision == "bf16"):
            losses = self.objective(views, self.student, self.teacher)
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self.optimizer.step()
        update_teacher(self.teacher, self.student, self.config.ema_decay)
        return {name: float(value.detach()) for name, value in losses.items()}


def build_objective(config: AdaptConfig, model: nn.Module) -> SelfTraining | Stpl:
    """The training objective of a method."""
    num_classes, channels = int(model.num_classes), int(model.feature_channels)  # type: ignore[arg-type]
    self_training = SelfTraining(PseudoLabeller(config.pseudo_labels, num_classes))
    if config.method == "self-training":
        return self_training
    if config.method == "bn":
        raise ValueError("method 'bn' trains nothing")
    return Stpl(config.method, config.contrast, self_training, channels)


@torch.no_grad()
def describe(model: nn.Module, images: Sequence[Tensor]) -> dict[str, Any]:
    """What a model says of some frames: the share of pixels of each class, and its mean confidence."""
    probabilities = torch.stack([model(image[None])[0].float().softmax(dim=0) for image in images])
    confidence, labels = probabilities.max(dim=1)
    histogram = torch.bincount(labels.flatten(), minlength=probabilities.shape[1]) / labels.numel()
    return {"class_histogram": [round(float(v), 5) for v in histogram], "mean_confidence": float(confidence.mean())}


def _with_lut(config: InputConfig, lut: Lut | None) -> InputConfig:
    return config.model_copy(update={"lut": lut})
