"""Training of the runtime's accel mode: after the adaptation, without labels, on the target's frames.

The adapted network says what is right. ``update`` learns to make of a frame and of the logits that the runtime would
have carried to it what the network itself says of that frame; ``fuse`` learns to make of a key frame's logits and of
those carried to it what the network says of the frame in several views. What is carried is made by the runtime's own
kernels. Each is judged on frames that it was not trained on, and kept only where it is better than doing without.
"""

from __future__ import annotations

import copy
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config
from stpl.data.batches import PreparedVideo, prefetched
from stpl.errors import UserError
from stpl.models.accel import FuseNet, UpdateNet
from stpl.train.ahead import Fetched, sent, steps_ahead
from stpl.train.carried import Clip, Clips, Teacher
from stpl.train.checkpoint import Checkpoint, load_tensors, save_tensors
from stpl.train.run import ACCEL_FILE, MetricsLog, step_progress

logger = logging.getLogger(__name__)

FORMAT = "stpl-accel-1"


class AccelConfig(Config):
    enabled: bool = False
    """Whether the networks of the runtime's accel mode are trained after the adaptation."""
    steps: int = Field(600, ge=1)
    fuse_steps: int = Field(100, ge=1)
    batch_size: int = Field(8, ge=2)
    learning_rate: float = Field(3e-3, gt=0)
    """Of what is new; the encoder of ``update`` learns at a sixth of it."""
    interval: int = Field(5, ge=2)
    """Of the schedule it is trained for: frames from one key frame to the next."""
    width: int = Field(64, ge=8)
    """Channels of the head of ``update``."""
    held_out: float = Field(0.2, gt=0, lt=1)
    """Share of the video, its end, that the networks are judged on and not trained on."""


@dataclass(frozen=True)
class Judgement:
    """Of one network on frames it was not trained on: share of pixels whose label is not the reference's."""

    without: float
    """Disagreement of what is shown without the network."""
    with_it: float

    @property
    def helps(self) -> bool:
        return self.with_it < self.without


@dataclass(frozen=True)
class AccelNetworks:
    """What accel mode has for a checkpoint; None where a network does not help."""

    fuse: FuseNet | None
    update: UpdateNet | None


def train_accel(
    config: AccelConfig,
    checkpoint: Checkpoint,
    video: PreparedVideo,
    out: Path,
    log: MetricsLog,
    *,
    seed: int = 0,
    device: torch.device,
    workers: int = 1,
) -> dict[str, Judgement]:
    """Trains ``update`` and ``fuse`` for an adapted checkpoint and writes ``out/accel.safetensors``.

    Args:
        workers: threads that make the batches of the next steps; what they make does not depend on their number.

    Returns:
        The judgement of each on the held-out frames; only networks that help are written.

    Raises:
        UserError: too few consecutive frames.
    """
    clips = clips_of(config, video)
    teacher = Teacher(checkpoint, video, device)
    torch.manual_seed(seed)  # of the heads' initial weights
    update = UpdateNet(copy.deepcopy(teacher.network), config.width).to(device)
    fuse = FuseNet(len(checkpoint.classes)).to(device)
    update_batches = prefetched(_update_maker(config, teacher, clips, seed), range(config.steps), workers, device)
    _train(update, update_batches, "update", config.steps, _rates(config, update))
    fuse_rates = [{"params": list(fuse.parameters()), "lr": config.learning_rate}]
    fuse_batches = prefetched(_fuse_maker(config, teacher, clips, seed), range(config.fuse_steps), workers, device)
    _train(fuse, fuse_batches, "fuse", config.fuse_steps, fuse_rates)
    judgements = {
        "update": _judge_update(config, teacher, clips, update),
        "fuse": _judge_fuse(config, teacher, clips, fuse),
    }
    kept: dict[str, nn.Module] = {}
    for name, network in (("update", update), ("fuse", fuse)):
        judgement = judgements[name]
        log.write("accel", network=name, without=judgement.without, with_it=judgement.with_it, kept=judgement.helps)
        logger.info(
            "accel: %s: %.2f %% of held-out labels differ, %.2f %% without it: %s",
            name, 100 * judgement.with_it, 100 * judgement.without, "kept" if judgement.helps else "not kept",
        )  # fmt: skip
        if judgement.helps:
            kept[name] = network
    save_accel(kept, config, checkpoint, out / ACCEL_FILE)
    return judgements


def clips_of(config: AccelConfig, video: PreparedVideo) -> Clips:
    """What there is to train on and to judge by; :class:`UserError` where it is too little."""
    clips = Clips(video, config.interval, config.held_out)
    if len(clips.training) < config.batch_size:
        raise UserError(
            f"accel: expected at least {config.batch_size} frames with {config.interval} before them to train on; "
            f"found {len(clips.training)} in {video.dataset.name}: give it a longer video, or accel.enabled=false"
        )
    return clips


def _rates(config: AccelConfig, update: UpdateNet) -> list[dict[str, object]]:
    return [
        {"params": update.encoder_parameters(), "lr": config.learning_rate / 6},
        {"params": update.head_parameters(), "lr": config.learning_rate},
    ]


Batch = tuple[tuple[Tensor, ...], Tensor]
"""Inputs of a network, and the probabilities ``(N, C, h, w)`` that it should give."""


def _train(
    network: nn.Module,
    batches: Iterator[tuple[int, Batch]],
    name: str,
    steps: int,
    rates: list[dict[str, object]],
) -> None:
    """Minimises the divergence of the network's probabilities from those wanted."""
    device = next(network.parameters()).device
    optimiser = torch.optim.AdamW(rates, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [float(group["lr"]) for group in optimiser.param_groups], total_steps=steps + 1, pct_start=0.1
    )
    network.train()
    with step_progress() as progress:
        task = progress.add_task(f"accel: {name}", total=steps, loss="")
        asked: deque[Fetched] = deque()
        for _, batch in batches:
            asked.append(_step(network, batch, device, optimiser))
            schedule.step()
            progress.update(task, advance=1)
            if len(asked) > steps_ahead(device):
                progress.update(task, loss=f"loss {asked.popleft().values()[0]:.3f}")
    network.eval()


def _step(network: nn.Module, batch: Batch, device: torch.device, optimiser: torch.optim.Optimizer) -> Fetched:
    """One step; its loss, to be asked for once it has been computed."""
    inputs, wanted = batch
    found = network(*(sent(tensor, device) for tensor in inputs)).log_softmax(dim=1)
    pixels = wanted.shape[0] * wanted.shape[2] * wanted.shape[3]
    loss = F.kl_div(found, sent(wanted, device), reduction="sum") / pixels
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return Fetched(loss.detach()[None])


def _update_maker(config: AccelConfig, teacher: Teacher, clips: Clips, seed: int) -> Callable[[int], Batch]:
    def make(step: int) -> Batch:
        chance = np.random.default_rng((seed, step, 3))
        images: list[Tensor] = []
        carried: list[Tensor] = []
        wanted: list[Tensor] = []
        for _ in range(config.batch_size):
            index = clips.training[int(chance.integers(len(clips.training)))]
            clip = clips.make(index, int(chance.integers(1, config.interval)))
            sample = (teacher.video.image(index), teacher.carried(clip), teacher.logits(index).softmax(dim=0))
            mirrored = chance.random() < 0.5
            for tensors, tensor in zip((images, carried, wanted), sample, strict=True):
                tensors.append(tensor.flip(-1) if mirrored else tensor)
        return (torch.stack(images), torch.stack(carried)), torch.stack(wanted)

    return make


def _fuse_maker(config: AccelConfig, teacher: Teacher, clips: Clips, seed: int) -> Callable[[int], Batch]:
    def make(step: int) -> Batch:
        chance = np.random.default_rng((seed, step, 4))
        present, past, wanted = [], [], []
        for _ in range(config.batch_size):
            index = clips.training[int(chance.integers(len(clips.training)))]
            present.append(teacher.logits(index))
            past.append(teacher.carried(clips.make(index, int(chance.integers(1, config.interval + 1)))))
            wanted.append(teacher.in_views(index))
        return (torch.stack(present), torch.stack(past)), torch.stack(wanted)

    return make


JUDGED_FRAMES = 24


def _judged(clips: Clips) -> list[int]:
    """Held-out frames, spread."""
    places = np.linspace(0, len(clips.held_out) - 1, min(JUDGED_FRAMES, len(clips.held_out)))
    return [clips.held_out[round(place)] for place in places]


@torch.no_grad()
def _disagreement(
    teacher: Teacher,
    clips: Iterator[Clip],
    reference: Callable[[int], Tensor],
    without: Callable[[Clip], Tensor],
    with_it: Callable[[Clip], Tensor],
) -> Judgement:
    totals, count = np.zeros(2), 0
    for clip in clips:
        right = teacher.labels(reference(clip.index))
        totals += [float((teacher.labels(shown(clip)) != right).mean()) for shown in (without, with_it)]
        count += 1
    return Judgement(*(totals / max(count, 1)).tolist())


def _judge_update(config: AccelConfig, teacher: Teacher, clips: Clips, update: UpdateNet) -> Judgement:
    def updated(clip: Clip) -> Tensor:
        image, carried = teacher.video.image(clip.index)[None], teacher.carried(clip)[None]
        shown: Tensor = update(image.to(teacher.device), carried.to(teacher.device))[0].cpu()
        return shown

    every_age = (clips.make(index, age) for index in _judged(clips) for age in range(1, config.interval))
    return _disagreement(teacher, every_age, teacher.logits, teacher.carried, updated)


def _judge_fuse(config: AccelConfig, teacher: Teacher, clips: Clips, fuse: FuseNet) -> Judgement:
    def fused(clip: Clip) -> Tensor:
        logits, past = teacher.logits(clip.index)[None], teacher.carried(clip)[None]
        shown: Tensor = fuse(logits.to(teacher.device), past.to(teacher.device))[0].cpu()
        return shown

    one_age = (clips.make(index, config.interval) for index in _judged(clips))
    return _disagreement(
        teacher, one_age, lambda index: teacher.in_views(index).log(), lambda clip: teacher.logits(clip.index), fused
    )


def save_accel(networks: dict[str, nn.Module], config: AccelConfig, checkpoint: Checkpoint, path: Path) -> None:
    """Writes networks ("fuse", "update") and the checkpoint that they belong to; :func:`load_accel` reads them."""
    header = {
        "format": FORMAT,
        "checkpoint": checkpoint.digest,
        "networks": sorted(networks),
        "width": config.width,
        "interval": config.interval,
    }
    tensors = {
        f"{name}.{key}": tensor for name, network in networks.items() for key, tensor in network.state_dict().items()
    }
    save_tensors(tensors, {"stpl": json.dumps(header)}, path)


def load_accel(path: Path, checkpoint: Checkpoint) -> AccelNetworks:
    """The networks of ``path`` (``accel.safetensors``), for the checkpoint that they were trained for.

    Raises:
        UserError: not such a file, or of another checkpoint.
    """
    tensors, metadata = load_tensors(path)
    try:
        header = json.loads(metadata["stpl"])
        if header["format"] != FORMAT:
            raise UserError(f"{path}: expected format {FORMAT}; found {header['format']!r}")
        if header["checkpoint"] != checkpoint.digest:
            raise UserError(
                f"{path}: expected the networks of checkpoint {checkpoint.digest}; found those of "
                f"{header['checkpoint']}: adapt again with accel.enabled=true, or export with --no-accel"
            )
        fuse = FuseNet(len(checkpoint.classes)) if "fuse" in header["networks"] else None
        update = UpdateNet(checkpoint.build(), int(header["width"])) if "update" in header["networks"] else None
        for name, network in (("fuse", fuse), ("update", update)):
            if network is not None:
                prefix = f"{name}."
                network.load_state_dict(
                    {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
                )
                network.eval()
        return AccelNetworks(fuse, update)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: expected networks of accel mode written by stpl-adapt; found {error}") from None
