"""Supervised training of a source model on labelled video."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config
from stpl.data.batches import PreparedVideo, prefetched
from stpl.data.classes import IGNORE_ID, ClassSet
from stpl.data.dataset import VideoDataset
from stpl.data.randomness import batch_indices, seed_step
from stpl.errors import UserError
from stpl.method.augment import Colours
from stpl.models.protocol import aligns_corners
from stpl.models.registry import build_model
from stpl.train.ahead import Fetched, sent, steps_ahead
from stpl.train.checkpoint import FILE_NAME, Checkpoint, InputConfig, save_checkpoint
from stpl.train.processes import Processes
from stpl.train.run import (
    METRICS_FILE,
    RESUME_FILE,
    MetricsLog,
    ResumeState,
    data_identity,
    require_same_run,
    run_steps,
    write_config,
)
from stpl.train.training import autocast

logger = logging.getLogger(__name__)


class SourceConfig(Config):
    """Everything that training a source model depends on, but the data."""

    model: str = "compact"
    input: InputConfig = InputConfig()
    crop: tuple[int, int] = (192, 256)
    """Height and width of the random crops that are trained on."""
    crop_area: tuple[float, float] = (0.35, 1.0)
    """A crop covers this share of the input's area, before it is resized to ``crop``."""
    jitter: float = Field(0.0, ge=0, le=1)
    """Brightness, contrast and saturation of a training image vary by this share; 0 leaves the colours alone."""
    steps: int = Field(2000, ge=1)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of a one-cycle schedule (Smith and Topin, 2018)."""
    weight_decay: float = Field(1e-2, ge=0)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """``auto``: the GPU where there is one."""
    precision: Literal["f32", "bf16"] = "f32"
    seed: int = Field(0, ge=0)
    save_every: int = Field(200, ge=1)
    """Steps between resumable saves."""


def train_source(
    config: SourceConfig,
    data: VideoDataset,
    out: Path,
    *,
    resume: bool = False,
    initial: Checkpoint | None = None,
) -> Checkpoint:
    """Trains ``config.model`` on the labelled frames of ``data`` and writes the run to ``out``.

    Args:
        initial: what to start from, in place of random weights: fine-tuning. Its architecture and its input take the
            place of the configuration's; its classes must be those of the data.

    Returns:
        The checkpoint, also written to ``out/checkpoint.safetensors``.

    Raises:
        UserError: no labelled frames, an unknown model, an initial checkpoint of other classes, a run that cannot be
            resumed, or settings that this machine cannot follow.
        KeyboardInterrupt: after Ctrl-C, with the state saved.
    """
    labelled = data.labelled()
    if data.classes is None or not labelled:
        raise UserError(f"{data.name}: expected labelled frames to train on; found none")
    if initial is not None:
        _require_classes(initial, data, data.classes)
        config = config.model_copy(update={"model": initial.arch, "input": initial.input})
    device = Processes.start(config.device).device  # what cannot be done is said before anything is written
    autocast(config.precision, device)
    out.mkdir(parents=True, exist_ok=True)
    origin = {"data": data_identity(data, labels=True), "initial model": "none" if initial is None else initial.digest}
    resume = resume and (out / RESUME_FILE).is_file()  # a run killed before its first step begins again
    if resume:
        require_same_run(out / RESUME_FILE, config, origin)
    write_config(config, out)
    torch.manual_seed(config.seed)
    start_from = initial if initial is not None else Checkpoint(config.model, data.classes, config.input, {})
    model = initial.build() if initial is not None else build_model(config.model, len(data.classes), size=config.crop)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    state = ResumeState({"model": model}, optimizer, config, origin)
    log = MetricsLog(out / METRICS_FILE)
    start = state.load(out / RESUME_FILE) if resume else 0
    log.forget_from(start)
    if not resume:
        log.forget()
        state.save(out / RESUME_FILE, 0)

    video = PreparedVideo(data, config.input.spec())
    trainer = _Supervised(config, model, optimizer)
    batches = prefetched(
        lambda step: video.labelled_batch(
            [labelled[i] for i in batch_indices(len(labelled), config.batch_size, config.seed, step)]
        ),
        range(start, config.steps),
    )
    started = time.perf_counter()
    run_steps(
        f"source {config.model} on {data.name}",
        range(start, config.steps),
        lambda step: trainer.step(step, *next(batches)[1]),
        log,
        lambda step: state.save(out / RESUME_FILE, step),
        config.save_every,
        ahead=steps_ahead(device),
    )
    seconds = time.perf_counter() - started
    log.write("done", seconds=round(seconds, 1), steps=config.steps)
    provenance = {"method": "source", "data": data.name, "steps": config.steps, "seed": config.seed}
    checkpoint = start_from.with_weights(model, **provenance)
    save_checkpoint(checkpoint, out / FILE_NAME)
    (out / RESUME_FILE).unlink(missing_ok=True)
    return checkpoint


def _require_classes(initial: Checkpoint, data: VideoDataset, classes: ClassSet) -> None:
    if initial.classes.names != classes.names:
        raise UserError(
            f"{data.name}: expected the classes of the model to start from ({', '.join(initial.classes.names)}); "
            f"found ({', '.join(classes.names)})"
        )


class _Supervised:
    def __init__(self, config: SourceConfig, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.config = config
        self.model = model
        self.optimizer = optimizer
        self.colours = Colours(config.input.mean, config.input.std, config.input.color_order)
        self.jitter = K.ColorJitter(config.jitter, config.jitter, config.jitter, 0.0, p=0.8)
        self.augment = K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5),
            K.RandomResizedCrop(config.crop, scale=config.crop_area, ratio=_ratio_range(config.crop)),
            data_keys=["input", "mask"],
        )

    def step(self, step: int, images: Tensor, labels: Tensor) -> Callable[[], dict[str, float]]:
        """One step; its values, to be asked for once it has been computed."""
        config = self.config
        seed_step(config.seed, step)
        with torch.no_grad():
            # kornia moves masks with nearest neighbours, as floats.
            images, moved = self.augment(images, labels[:, None].float())
            if config.jitter > 0:
                images = self.colours.normalise(self.jitter(self.colours.restore(images)))
        device = next(self.model.parameters()).device
        labels = sent(moved[:, 0].long(), device)
        self.model.train()
        with autocast(config.precision, device):
            logits = self.model(sent(images, device).contiguous(memory_format=torch.channels_last))
        logits = F.interpolate(
            logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=aligns_corners(self.model)
        )
        counted = (labels != IGNORE_ID).sum().clamp(min=1)  # of crops without any label the loss is 0
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORE_ID, reduction="sum") / counted
        rate = config.learning_rate * one_cycle(step / config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        numbers = Fetched(loss.detach()[None])
        return lambda: {"loss": numbers.values()[0], "learning_rate": rate}


def one_cycle(progress: float, warm_up: float = 0.1) -> float:
    """Share of the peak learning rate at ``progress`` 0..1: linear warm-up, then a cosine down to zero."""
    if progress < warm_up:
        return (progress + 1e-3) / (warm_up + 1e-3)
    return float(0.5 * (1.0 + torch.cos(torch.tensor(torch.pi * (progress - warm_up) / (1.0 - warm_up)))))


def _ratio_range(crop: tuple[int, int]) -> tuple[float, float]:
    ratio = crop[1] / crop[0]
    return (0.9 * ratio, 1.1 * ratio)
