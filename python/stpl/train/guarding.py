"""The guard at work in a run: judging snapshots, taking training back, and what is kept in the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import stpl_rt
from stpl.data.batches import PreparedVideo
from stpl.data.dataset import VideoDataset
from stpl.method.guard import (
    Guard,
    GuardConfig,
    Verdict,
    verdict_as_dict,
    verdict_from_dict,
    video_content,
    video_contrast,
)
from stpl.method.tone_curves import chain, gamma_lut
from stpl.train.checkpoint import Checkpoint, InputConfig
from stpl.train.processes import Processes
from stpl.train.run import MetricsLog, ResumeState
from stpl.train.stages import CPU, spread

logger = logging.getLogger(__name__)

CELLS = InputConfig(width=20, height=15, filter="area").spec()
"""Grid on which the contrast of a video is measured."""


class Guarding:
    """Judges the snapshots of one run with a :class:`Guard` and does what it says.

    Args:
        config: the guard's thresholds.
        start_from: the model that training starts from.
        video: what it is trained on.
        state: of everything that training changes, restored where training is taken back.
        optimizer: that of the state.
        file: where the state of the last accepted snapshot is kept. The run saves its own state, which holds that one,
            at the beginning and after each verdict, so that it is resumed as it went; :meth:`keep` says when that save
            is to be had under this name, too.
    """

    def __init__(
        self,
        config: GuardConfig,
        start_from: Checkpoint,
        video: PreparedVideo,
        state: ResumeState,
        optimizer: torch.optim.Optimizer,
        file: Path,
        log: MetricsLog,
        processes: Processes,
    ) -> None:
        self.config = config
        self.guard = build_guard(config, start_from, video, processes.device)
        self._state = state
        self._optimizer = optimizer
        self._file = file
        self._log = log
        self._processes = processes
        self._to_be_kept = False

    def begin(self) -> None:
        """Before the first step, and the save before it: there is something to take training back to."""
        self._to_be_kept = True
        self._log.write("guard_begins", **self.guard.describe(), mode=self.config.mode)

    @property
    def stopped(self) -> bool:
        """Whether the guard has ended the training; where it only observes, it never does."""
        return self.config.mode == "act" and bool(self.guard.stopped)

    @property
    def rate_scale(self) -> float:
        """What the learning rate is multiplied by."""
        return float(self.guard.rate_scale)

    def judge(self, step: int, model: nn.Module) -> Verdict:
        """Judges the snapshot after ``step`` steps and acts on it; every process does the same."""
        own = self.guard.judge(step, model)
        # On unlike machines a threshold may fall either way: the main process decides.
        verdict = verdict_from_dict(json.loads(self._processes.same_text(json.dumps(verdict_as_dict(own)))))
        self.guard.follow(verdict)
        if verdict.accepted:
            self._to_be_kept = True
        elif self.config.mode == "act":
            self._take_back()
            logger.warning("guard: the snapshot of step %d is not kept: %s", step, verdict.reason)
        self._log.write("guard", **{**verdict_as_dict(verdict), "step": step - 1}, rate_scale=self.rate_scale)
        return verdict

    def keep(self) -> Path | None:
        """The second name of the save that is being made, where it is of a state just accepted; else None.

        The state is written once: for a large network it is gigabytes.
        """
        kept, self._to_be_kept = self._to_be_kept, False
        return self._file if kept else None

    def finish(self) -> int:
        """Restores the last accepted state; returns its step, 0 for the model that training started from."""
        self._take_back()
        return int(self.guard.accepted_step)

    def _take_back(self) -> None:
        assert not self._to_be_kept, "the state of the last accepted snapshot was never saved"
        self._optimizer.state.clear()  # at the first step it had none, and what is not saved is not replaced
        self._state.load(self._file)


def build_guard(config: GuardConfig, start_from: Checkpoint, video: PreparedVideo, device: torch.device) -> Guard:
    """A guard that looks at frames spread over ``video``, prepared as ``start_from`` wants them."""
    indices = _spread(video.dataset, config)

    def probes(gamma: float) -> Sequence[Tensor]:
        if gamma == 1.0:
            return [video.image(index)[None].to(device) for index in indices]
        spec = with_gamma(start_from.input, gamma).spec()
        frames = (stpl_rt.preprocess(video.dataset.frame(index), spec) for index in indices)
        return [torch.from_numpy(frame)[None].to(device) for frame in frames]

    model = start_from.build().to(device)
    return Guard(config, model, probes, len(start_from.classes)).to(device)


def allowed(
    config: GuardConfig, what: str, why_not: Callable[[], str | None], log: MetricsLog | None, processes: Processes
) -> bool:
    """Whether the guard lets a stage begin; what it finds is logged. Without ``act`` it only says what it thinks.

    Args:
        what: the stage, for the log: ``adapt`` or ``train``.
        why_not: why the stage would do no good, in words; None where it may.
        log: None where this was said before the run was interrupted.
    """
    if config.mode == "off":
        return True
    # On unlike machines a threshold may fall either way: the main process decides.
    reason = json.loads(processes.same_text(json.dumps(why_not())))
    if reason is not None and log is not None:
        logger.warning("guard: %s", reason)
        log.write("guard_stage", stage=what, reason=reason, refused=config.mode == "act")
    return reason is None or config.mode != "act"


def why_nothing_helps(
    config: GuardConfig, source: Checkpoint, target: VideoDataset, device: torch.device = CPU
) -> str | None:
    """Why this video cannot teach ``source`` anything, not even its statistics; None where it can."""
    spec, indices = source.input.spec(), _spread(target, config)
    frames = [target.frame(index) for index in indices]
    too_little = "the video shows too little: {} (a covered lens, a wall, one surface?); the source model is kept"
    contrast = video_contrast([stpl_rt.luma(frame, CELLS) for frame in frames])
    if contrast < config.contrast:  # padding with zeros gives even a black frame features that vary, if it is small
        return too_little.format(f"its frames have a contrast of {contrast:.2f}, less than {config.contrast:g}")
    prepared = (torch.from_numpy(stpl_rt.preprocess(frame, spec))[None].to(device) for frame in frames)
    content = video_content(source.build().to(device), prepared)
    if content is not None and content < config.content:
        return too_little.format(
            f"its features vary {content:.2f} times as much as the network expects, less than {config.content:g}"
        )
    return None


def why_not_train(config: GuardConfig, target: VideoDataset) -> str | None:
    """Why a model must not be trained on this video; None where it may."""
    if len(target) >= config.least_frames:
        return None
    return (
        f"the video has {len(target)} frames, fewer than {config.least_frames}: they would be learnt by heart; input "
        "and statistics are adapted, no weight is trained"
    )


def _spread(target: VideoDataset, config: GuardConfig) -> list[int]:
    return spread(len(target), config.frames)


def with_gamma(config: InputConfig, gamma: float) -> InputConfig:
    """The input with a further tone curve, ``(v / 255)^gamma``, after its own look-up table."""
    return config.model_copy(update={"lut": chain(config.lut, gamma_lut(gamma))})
