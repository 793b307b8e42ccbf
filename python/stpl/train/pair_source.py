"""Source training as the video benchmarks do it: a labelled frame, the one before and the flow between them.

Source: the released code of DA-VSN (Guan et al., ICCV 2021) and TPS (Xing et al., ECCV 2022): SGD, one pair a step, no
crops and no flips, an auxiliary classifier, ImageNet weights to start from. Different from it, on purpose: the
polynomial schedule holds for all learning rates (in the release the classifiers' stays constant because one group of
parameters is never updated).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from stpl.config import Config
from stpl.data.batches import PairBatch, PreparedVideo, prefetched
from stpl.data.classes import IGNORE_ID
from stpl.data.dataset import VideoDataset
from stpl.data.flow import flow_on
from stpl.data.randomness import batch_indices, seed_step
from stpl.errors import UserError
from stpl.models.accel_deeplabv2 import AccelDeepLabV2, load_imagenet
from stpl.models.protocol import aligns_corners
from stpl.models.pth import read_state_dict
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

logger = logging.getLogger(__name__)

CLASSIFIERS = ("layer5.", "layer6.", "sf_layer.")


class PairSourceConfig(Config):
    """Everything that it depends on, but the data."""

    model: Literal["accel_deeplabv2"] = "accel_deeplabv2"
    input: InputConfig = InputConfig(
        height=720, width=1280, mean=(104.00698793, 116.66876762, 122.67891434), std=(1, 1, 1), color_order="bgr"
    )
    imagenet: Path | None = None
    """`DeepLab_resnet_pretrained_imagenet.pth`, to start from."""
    random_start: bool = False
    """Whether to start from random weights where ``imagenet`` is None."""
    steps: int = Field(40_000, ge=1)
    batch_size: int = Field(1, ge=1)
    learning_rate: float = Field(2.5e-4, gt=0)
    """Of the backbone at the first step."""
    classifier_rate: float = Field(10.0, gt=0)
    """Times as much for the classifiers and the fusion."""
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    power: float = Field(0.9, gt=0)
    horizon: int = Field(250_000, ge=1)
    """Steps after which the learning rate would be 0; the training stops long before."""
    auxiliary: float = Field(0.1, ge=0)
    """Weight of the auxiliary classifier's loss."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    seed: int = Field(1234, ge=0)
    save_every: int = Field(500, ge=1)
    """Steps between resumable saves."""


def train_pair_source(config: PairSourceConfig, data: VideoDataset, out: Path, *, resume: bool = False) -> Checkpoint:
    """Trains the benchmarks' network on the labelled frames of ``data`` that have a predecessor.

    Returns:
        The checkpoint, also written to ``out/checkpoint.safetensors``.

    Raises:
        UserError: no labelled frame with a predecessor, no ImageNet weights or unfit ones, or a run that cannot be
            resumed.
        KeyboardInterrupt: after Ctrl-C, with the state saved.
    """
    require_start(config)
    usable = [index for index in data.labelled() if data.previous(index) is not None]
    if data.classes is None or not usable:
        raise UserError(f"{data.name}: expected labelled frames with the frame before each; found none")
    out.mkdir(parents=True, exist_ok=True)
    origin = {"data": data_identity(data, labels=True, flow=True)}
    if resume:
        require_same_run(out / RESUME_FILE, config, origin)
    torch.manual_seed(config.seed)
    device = Processes.start(config.device).device
    model = _network(config, len(data.classes)).to(device)
    write_config(config, out)
    trainer = _PairTraining(config, model)
    state = ResumeState({"model": model}, trainer.optimizer, config, origin)
    start = state.load(out / RESUME_FILE) if resume else 0
    log = MetricsLog(out / METRICS_FILE)
    log.forget_from(start)
    steps = range(start, config.steps)
    video = PreparedVideo(data, config.input.spec(), flow=flow_on(str(device)))
    batches = _batches(config, video, usable, steps, device)
    started = time.perf_counter()
    run_steps(
        f"source {config.model} on {data.name}",
        steps,
        lambda step: trainer.step(step, *next(batches)),
        log,
        lambda step: state.save(out / RESUME_FILE, step),
        config.save_every,
        ahead=steps_ahead(device),
    )
    log.write("done", seconds=round(time.perf_counter() - started, 1), steps=config.steps)
    provenance = {"method": "source", "data": data.name, "steps": config.steps, "seed": config.seed}
    checkpoint = Checkpoint(config.model, data.classes, config.input, {}).with_weights(model, **provenance)
    save_checkpoint(checkpoint, out / FILE_NAME)
    (out / RESUME_FILE).unlink(missing_ok=True)
    return checkpoint


def require_start(config: PairSourceConfig) -> None:
    """UserError where there are no weights to start from and random ones were not asked for."""
    if config.imagenet is None and not config.random_start:
        raise UserError(
            f"{config.model}: expected ImageNet weights to start from, as the published numbers do "
            "(pair_source.imagenet=DeepLab_resnet_pretrained_imagenet.pth); found none: pair_source.random_start=true "
            "starts from random ones"
        )


def poly(step: int, horizon: int, power: float) -> float:
    """Share of the first learning rate at ``step``: (1 - step / horizon) ** power."""
    return float((1.0 - min(step / horizon, 1.0)) ** power)


def _network(config: PairSourceConfig, num_classes: int) -> AccelDeepLabV2:
    model = build_model(config.model, num_classes)
    assert isinstance(model, AccelDeepLabV2)
    if config.imagenet is not None:
        load_imagenet(model, read_state_dict(config.imagenet))
    else:
        logger.warning("%s starts from random weights: the published numbers start from ImageNet's", config.model)
    return model


def _batches(
    config: PairSourceConfig, video: PreparedVideo, usable: list[int], steps: range, device: torch.device
) -> Iterator[tuple[PairBatch, Tensor]]:
    def made(step: int) -> tuple[PairBatch, Tensor]:
        chosen = [usable[i] for i in batch_indices(len(usable), config.batch_size, config.seed, step)]
        return video.pair_batch(chosen), torch.stack([video.label(index) for index in chosen]).long()

    return (batch for _, batch in prefetched(made, steps, device=device))


class _PairTraining:
    def __init__(self, config: PairSourceConfig, model: AccelDeepLabV2) -> None:
        self.config = config
        self.model = model
        trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        backbone = [weight for name, weight in trained if not name.startswith(CLASSIFIERS)]
        classifiers = [weight for name, weight in trained if name.startswith(CLASSIFIERS)]
        self.optimizer = torch.optim.SGD(
            [{"params": backbone}, {"params": classifiers}],
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )

    def step(self, step: int, pairs: PairBatch, labels: Tensor) -> Callable[[], dict[str, float]]:
        """One step; its values, to be asked for once it has been computed."""
        config, device = self.config, next(self.model.parameters()).device
        seed_step(config.seed, step)
        rate = config.learning_rate * poly(step, config.horizon, config.power)
        for group, factor in zip(self.optimizer.param_groups, (1.0, config.classifier_rate), strict=True):
            group["lr"] = factor * rate
        self.model.train()  # the running statistics follow, frame by frame; the affine weights are frozen
        present, past, flow = (sent(tensor, device) for tensor in (pairs.present, pairs.past, pairs.flow))
        logits = self.model.fused_logits(present, past, flow)
        labels = sent(labels, device)
        main, auxiliary = (self._loss(scores, labels) for scores in (logits.main, logits.aux))
        loss = main + config.auxiliary * auxiliary
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        numbers = Fetched(torch.stack((loss.detach(), main.detach())))
        return lambda: {**dict(zip(("loss", "main"), numbers.values(), strict=True)), "learning_rate": rate}

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy over the pixels that are not ignored, at the input's size; 0 where there are none."""
        whole = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=aligns_corners(self.model))
        counted = (labels != IGNORE_ID).sum().clamp(min=1)
        return F.cross_entropy(whole, labels, ignore_index=IGNORE_ID, reduction="sum") / counted
