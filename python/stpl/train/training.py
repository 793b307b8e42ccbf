"""The third stage: the method's training steps, with snapshots and resumable saves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stpl.data.batches import PairBatch, PreparedVideo, prefetched
from stpl.data.randomness import batch_indices, seed_step
from stpl.method.augment import PairAugmentation
from stpl.method.batch_norm import batch_norm_layers
from stpl.method.views import Views
from stpl.train.checkpoint import Checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.ema import make_teacher, update_teacher
from stpl.train.objectives import build_objective
from stpl.train.run import RESUME_FILE, MetricsLog, ResumeState, run_steps
from stpl.train.stages import spread

OnSnapshot = Callable[[int, Checkpoint], None]


class Training:
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
        self.adaptation = Adaptation(config, start_from)
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


class Adaptation:
    """Student, teacher, objective and optimiser, and one step of them."""

    def __init__(self, config: AdaptConfig, start_from: Checkpoint) -> None:
        self.config = config
        self.student = start_from.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = make_teacher(self.student)
        self.augment = PairAugmentation(
            config.augmentation, start_from.input.mean, start_from.input.std, start_from.input.color_order
        )
        self.objective = build_objective(config, self.student)
        self.modules = {"student": self.student, "teacher": self.teacher, "objective": self.objective}
        parameters = [*self.objective.trainable(self.student), *self.objective.parameters()]
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
        self.objective.after_step(self.student, self.teacher, step)
        return {name: float(value.detach()) for name, value in losses.items()}


@torch.no_grad()
def describe(model: nn.Module, images: Sequence[Tensor]) -> dict[str, Any]:
    """What a model says of some frames: the share of pixels of each class, and its mean confidence."""
    probabilities = torch.stack([model(image[None])[0].float().softmax(dim=0) for image in images])
    confidence, labels = probabilities.max(dim=1)
    histogram = torch.bincount(labels.flatten(), minlength=probabilities.shape[1]) / labels.numel()
    return {"class_histogram": [round(float(v), 5) for v in histogram], "mean_confidence": float(confidence.mean())}
