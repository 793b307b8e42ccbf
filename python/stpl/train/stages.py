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
from stpl.method.calibration import calibrate
from stpl.method.tone_curves import Lut, balancing_exponents, candidate_curves, chain
from stpl.train.checkpoint import Checkpoint, InputConfig
from stpl.train.config import AdaptConfig
from stpl.train.run import MetricsLog, step_progress

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")


def calibrate_input(
    config: AdaptConfig,
    source: Checkpoint,
    target: VideoDataset,
    log: MetricsLog | None = None,
    device: torch.device = CPU,
) -> Checkpoint:
    """The first stage: the source model with the tone curve that suits the target; weights unchanged.

    A curve that the source model has already comes after the one that is chosen.
    """
    settings = config.calibration
    if not settings.enabled:
        return source
    frames = [target.frame(index) for index in spread(len(target), settings.frames)]
    curves = candidate_curves(settings.gammas, settings.balanced_gammas, balancing_exponents(frames))

    def prepared(lut: Lut | None) -> Sequence[Tensor]:
        spec = _with_curve(source.input, lut).spec()
        return [torch.from_numpy(stpl_rt.preprocess(frame, spec))[None].to(device) for frame in frames]

    with step_progress() as progress:
        task = progress.add_task("input calibration", total=len(curves), loss="")
        calibration = calibrate(
            source.build().to(device),
            prepared,
            curves,
            settings,
            batch_norm_blend=config.batch_norm.blend if config.batch_norm.enabled else 0.0,
            progress=lambda: progress.advance(task),
        )
        progress.update(task, loss=calibration.curve.name)
    logger.info("calibration: %s", calibration.reason)
    if log is not None:
        log.write("calibration", **calibration.as_event(settings.criterion))
    curve = calibration.curve
    provenance = {
        **source.provenance,
        "calibration_gamma": curve.gamma,
        **({"calibration_channels": list(curve.channels)} if curve.balanced else {}),
    }
    chosen = source.input if curve.identity else _with_curve(source.input, curve.lut())
    return replace(source, input=chosen, provenance=provenance)


def estimate_batch_norm(
    config: AdaptConfig,
    checkpoint: Checkpoint,
    video: PreparedVideo,
    log: MetricsLog | None = None,
    device: torch.device = CPU,
) -> Checkpoint:
    """The second stage: batch-norm statistics moved towards the target's."""
    if not config.batch_norm.enabled:
        return checkpoint
    model = checkpoint.build().to(device)
    indices = spread(len(video.dataset), config.batch_norm.frames)
    with step_progress() as progress:
        task = progress.add_task("batch-norm statistics", total=len(indices), loss="")

        def images() -> Iterator[Tensor]:
            for index in indices:  # one frame a batch: each weighs the same
                yield video.image(index)[None].to(device)
                progress.advance(task)

        layers = reestimate_batch_norm(model, images(), config.batch_norm.blend)
    if log is not None:
        log.write("batch_norm", layers=layers, frames=len(indices), blend=config.batch_norm.blend)
    return checkpoint.with_weights(model)


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` of the positions 0 .. count-1, spread evenly, ascending."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})


def _with_curve(config: InputConfig, lut: Lut | None) -> InputConfig:
    return config.model_copy(update={"lut": chain(lut, config.lut)})
