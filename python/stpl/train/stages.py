"""The stages before training: the input's tone curve, then the batch-norm statistics."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

import stpl_rt
from stpl.data.batches import PreparedVideo
from stpl.data.dataset import VideoDataset
from stpl.method.batch_norm import reestimate_batch_norm
from stpl.method.calibration import Lut, calibrate, candidates, gamma_lut, scores_as_dicts
from stpl.train.checkpoint import Checkpoint, InputConfig
from stpl.train.config import AdaptConfig
from stpl.train.run import MetricsLog, step_progress

logger = logging.getLogger(__name__)


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
    return replace(source, input=calibrated_input, provenance=provenance)


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


def _with_lut(config: InputConfig, lut: Lut | None) -> InputConfig:
    return config.model_copy(update={"lut": lut})
