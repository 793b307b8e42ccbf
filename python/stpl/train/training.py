"""The third stage: the method's training steps, with snapshots and resumable saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from stpl.data.batches import PairBatch, PreparedVideo, prefetched
from stpl.data.randomness import batch_indices, random_others, sample_generator, seed_step
from stpl.data.sweep import Sweep
from stpl.errors import UserError
from stpl.method.augment import PairAugmentation
from stpl.method.batch_norm import batch_norm_layers
from stpl.method.objective import Objective
from stpl.method.reach import reached_parameters
from stpl.method.views import Views
from stpl.train.ahead import Fetched, on_device, steps_ahead
from stpl.train.branch import Branch
from stpl.train.checkpoint import Checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.ema import make_teacher, update_teacher
from stpl.train.guarding import Guarding
from stpl.train.objectives import build_objective
from stpl.train.processes import Processes
from stpl.train.run import ACCEPTED_FILE, RESUME_FILE, MetricsLog, ResumeState, run_steps
from stpl.train.stages import spread

OnSnapshot = Callable[[int, Checkpoint], None]


class Training:
    """The third stage: the method's steps, with batches prepared ahead, snapshots and resumable saves.

    Raises:
        UserError: settings that this machine cannot follow.
    """

    def __init__(
        self,
        config: AdaptConfig,
        start_from: Checkpoint,
        video: PreparedVideo,
        out: Path,
        log: MetricsLog,
        origin: dict[str, str],
        processes: Processes | None = None,
    ) -> None:
        self.config = config
        self.start_from = start_from
        self.video = video
        self.log = log
        self.resume_file = out / RESUME_FILE
        self.processes = processes or Processes.start(config.device)
        self.places = self.processes.places(config.batch_size, config.accumulate)
        self._sweep: Sweep | None = None
        torch.manual_seed(config.seed)
        self.adaptation = Adaptation(config, start_from, self.processes)
        parts = {"scaler": self.adaptation.scaler}
        modules = self.adaptation.modules
        self.guarding = None
        if config.guard.mode != "off":
            accepted = ResumeState(modules, self.adaptation.optimizer, config, origin, parts)
            file = out / ACCEPTED_FILE
            optimizer = self.adaptation.optimizer
            self.guarding = Guarding(config.guard, start_from, video, accepted, optimizer, file, log, self.processes)
            modules = {**modules, "guard": self.guarding.guard}
        self.state = ResumeState(modules, self.adaptation.optimizer, config, origin, parts)

    def run(self, resume: bool, on_snapshot: OnSnapshot | None) -> Checkpoint:
        start = self.state.load(self.resume_file) if resume else 0
        self.log.forget_from(start)
        if not resume:
            if self.guarding is not None:
                self.guarding.begin()
            self._save(0)  # whatever happens from here on, --resume has something to go on with
        steps = range(start, self.config.steps)
        with ExitStack() as stack:
            if self.video.dataset.in_order:
                self._sweep = stack.enter_context(Sweep(self.video, self._frames, steps))
            return self._train(steps, on_snapshot)

    def _train(self, steps: range, on_snapshot: OnSnapshot | None) -> Checkpoint:
        device = self.processes.device
        made = (batch for _, batch in prefetched(self._batch, steps, self.config.workers, device))
        batches = on_device(made, device, channels_last=self.config.channels_last)
        probes = [self.video.image(index) for index in spread(len(self.video.dataset), 8)]

        def snapshot_after(steps_done: int) -> bool:
            return steps_done % self.config.snapshot_every == 0 or steps_done == self.config.steps

        def judged_after(steps_done: int) -> bool:
            """Each verdict is saved: what is resumed must not know a later snapshot."""
            return self.guarding is not None and snapshot_after(steps_done)

        def step(i: int) -> Callable[[], dict[str, float]]:
            waiting = time.perf_counter()
            with record_function("stpl/data_wait"):
                batch = next(batches)
            waited = time.perf_counter() - waiting
            values = self.adaptation.step(i, batch, 1.0 if self.guarding is None else self.guarding.rate_scale)
            if snapshot_after(i + 1):
                self._snapshot(i + 1, probes, on_snapshot)
            return lambda: {**values(), "data_seconds": round(waited, 4)}

        def stopped() -> bool:
            return self.guarding is not None and self.guarding.stopped

        title = f"{self.config.method} on {self.video.dataset.name}"
        run_steps(
            title,
            steps,
            step,
            self.log,
            self._save,
            self.config.save_every,
            self.processes.any,
            stopped,
            judged_after,
            steps_ahead(device),
        )
        if self.guarding is None:
            return self._result()
        selected = self.guarding.finish()
        self.log.write("selected", after_steps=selected)
        return self._result() if selected else self.start_from

    def _snapshot(self, steps_done: int, probes: Sequence[Tensor], on_snapshot: OnSnapshot | None) -> None:
        self.log.write("snapshot", **describe(self.adaptation.outcome, probes), step=steps_done - 1)
        if on_snapshot is not None and self.processes.index == 0:
            on_snapshot(steps_done, self._result())
        if self.guarding is not None:
            self.guarding.judge(steps_done, self.adaptation.outcome)

    def _batch(self, step: int) -> list[PairBatch]:
        """This process's share of a step's batch, in the parts that it is computed in."""
        if self._sweep is not None:
            self._sweep.wait_for(step)
        parts = [self.video.pair_batch(indices, others) for indices, others in self._pairs(step)]
        return [part.pinned() for part in parts] if self.processes.device.type == "cuda" else parts

    def _pairs(self, step: int) -> Iterator[tuple[list[int], list[int] | None]]:
        """Of each part the frames, and those that stand in for their predecessors."""
        chosen = batch_indices(len(self.video.pairs), self.config.batch_size, self.config.seed, step)
        for places in self.places:
            indices = [self.video.pairs[chosen[i]] for i in places]
            others = None
            if self.config.past == "random":
                others = random_others(len(self.video.dataset), indices, places, self.config.seed, step)
            yield indices, others

    def _frames(self, step: int) -> Iterator[int]:
        """All frames that a step's batch is made of."""
        for indices, others in self._pairs(step):
            yield from indices
            before = [self.video.dataset.previous(index) for index in indices] if others is None else others
            yield from (index for index in before if index is not None)

    def _save(self, step: int) -> None:
        self.state.save(self.resume_file, step, None if self.guarding is None else self.guarding.keep())

    def _result(self) -> Checkpoint:
        return self.start_from.with_weights(self.adaptation.outcome)


class Adaptation:
    """Student, teacher, objective and optimiser, and one step of them.

    With several processes each sees its share of the batch, and with accumulation one part of it after another. A
    sample's random numbers follow from seed, step and its place in the whole batch.

    Raises:
        UserError: a precision that the device does not have.
    """

    def __init__(self, config: AdaptConfig, start_from: Checkpoint, processes: Processes) -> None:
        self.config = config
        self.processes = processes
        device = processes.device
        self.places = processes.places(config.batch_size, config.accumulate)
        self.autocast = autocast(config.precision, device)
        self.layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.student = start_from.build().to(device, memory_format=self.layout)  # type: ignore[call-overload]
        size = (start_from.input.height, start_from.input.width)
        self.objective = build_objective(config, self.student, size).to(device)
        trained = list(self.objective.trainable(self.student))
        self.student.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)
        if processes.count > 1:
            self._freeze_unreached(torch.zeros(len(self.places[0]), 3, *size, device=device))
        self.losses = processes.share(_Losses(self.student, self.objective, compiled=config.compile))
        teacher = make_teacher(self.student)
        self.teacher = teacher
        self._teacher_branch = Branch(teacher, "stpl/teacher", compiled=config.compile)
        self.augment = PairAugmentation(
            config.augmentation, start_from.input.mean, start_from.input.std, start_from.input.color_order
        ).to(device)
        self.ema_decay = 0.0 if self.objective.teacher_is_student else config.ema_decay
        self.outcome = self.student if self.objective.teacher_frozen else self.teacher
        """The network that is judged and comes out."""
        self.modules = {"student": self.student, "teacher": self.teacher, "objective": self.objective}
        parameters = [*trained, *self.objective.parameters()]
        self.optimizer = torch.optim.AdamW(
            parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            # On a GPU one kernel steps all weights, and leaves a step out itself where fp16 overflowed: without it the
            # scaler asks the host.
            fused=True if device.type == "cuda" else None,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision_of(config.precision, device) == "fp16")

    def step(self, step: int, parts: Sequence[PairBatch], rate_scale: float = 1.0) -> Callable[[], dict[str, float]]:
        """One step of the optimiser on this process's share of the batch, on its device.

        The host waits for nothing that a GPU computes.

        Returns:
            A function to ask for the losses of the whole batch by name, which waits for them.
        """
        warm_up = min(1.0, (step + 1) / max(self.config.warm_up, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * warm_up * rate_scale
        self._to_training_mode()
        self.optimizer.zero_grad(set_to_none=True)
        logged: dict[str, Tensor] = {}
        for i, (batch, places) in enumerate(zip(parts, self.places, strict=True)):
            batch = batch.to(self.processes.device, channels_last=self.config.channels_last)
            views = self._views(step, batch, places)
            seed_step(self.config.seed, step, places[0])  # dropout and the like, which know no samples
            with self.processes.gradients(self.losses, averaged=i + 1 == len(parts)):
                with self.autocast:
                    losses = self.losses(views, self._teacher_branch)
                self.scaler.scale(losses["loss"] / len(parts)).backward()
            for name, value in losses.items():
                logged[name] = logged.get(name, 0.0) + value.detach().float() / len(parts)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if not self.objective.teacher_frozen:
            update_teacher(self.teacher, self.student, self.ema_decay)
        self.objective.after_step(self.student, self.teacher, step)
        means = Fetched(self.processes.mean(torch.stack(list(logged.values()))))
        return lambda: dict(zip(logged, means.values(), strict=True))

    def _to_training_mode(self) -> None:
        self.student.train()
        for layer in batch_norm_layers(self.student):
            layer.eval()  # the statistics are those of the stage before; small batches would blur them

    def _freeze_unreached(self, images: Tensor) -> None:
        """Weights that no objective reaches, as those of a benchmark's second frame, are not asked for gradients.

        They never have any, so nothing changes; but where there are several processes, DistributedDataParallel would
        have the host wait in each step to learn that the others have none either.

        Args:
            images: as many as a pass of a step has, so that it takes no more memory.
        """
        device, images = images.device, images.contiguous(memory_format=self.layout)
        reached: set[nn.Parameter] = set()
        before = [buffer.clone() for buffer in self.student.buffers()]  # a pass may write into them
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            # In both modes: in training a network may leave out a layer at random.
            for to_mode in (self._to_training_mode, self.student.eval):
                to_mode()
                reached.update(reached_parameters(self.student, self._pass, images))
        with torch.no_grad():
            for buffer, kept in zip(self.student.buffers(), before, strict=True):
                buffer.copy_(kept)
        for parameter in self.student.parameters():
            parameter.requires_grad_(parameter.requires_grad and parameter in reached)

    def _pass(self, images: Tensor) -> Tensor:
        with self.autocast:
            logits: Tensor = self.student.logits(self.student.features(images))
        return logits

    def _views(self, step: int, batch: PairBatch, places: Sequence[int]) -> Views:
        generators = tuple(sample_generator(self.config.seed, step, place) for place in places)
        with record_function("stpl/augment"):
            present, past = self.augment(batch.present, batch.past, generators)
        return Views(batch.present, batch.past, present, past, batch.flow, generators)


class _Losses(nn.Module):
    """The trained networks and the objective as one module, so that one backward pass meets all their weights."""

    def __init__(self, student: nn.Module, objective: Objective, *, compiled: bool) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self._branch = Branch(student, "stpl/student", compiled=compiled)

    def forward(self, views: Views, teacher: Branch) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.objective(views, self._branch, teacher)
        return losses


def precision_of(setting: str, device: torch.device) -> str:
    """``setting``, or what ``auto`` means on the device: bf16 on a GPU that computes in it, else f32."""
    if setting != "auto":
        return setting
    # Emulated, as on GPUs before Ampere, it would be slower than f32.
    computes = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if computes else "f32"


def autocast(setting: str, device: torch.device) -> torch.autocast:
    """The context in which the networks run in the precision that ``setting`` (auto, f32, bf16, fp16) means.

    Raises:
        UserError: the device does not have it.
    """
    precision = precision_of(setting, device)
    if precision == "fp16" and device.type != "cuda":
        raise UserError(f"precision = fp16: expected a CUDA GPU; found device {device}: use bf16 or f32")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError(f"precision = bf16: {torch.cuda.get_device_name(device)} does not have it; use fp16 or f32")
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=precision != "f32")


@torch.no_grad()
def describe(model: nn.Module, images: Sequence[Tensor]) -> dict[str, Any]:
    """What a model says of some frames: the share of pixels of each class, and its mean confidence."""
    device = next(model.parameters()).device
    model.eval()
    probabilities = torch.stack([model(image[None].to(device))[0].float().softmax(dim=0) for image in images])
    confidence, labels = probabilities.max(dim=1)
    histogram = torch.bincount(labels.flatten(), minlength=probabilities.shape[1]) / labels.numel()
    return {"class_histogram": [round(float(v), 5) for v in histogram], "mean_confidence": float(confidence.mean())}
