"""Evaluation exactly as the benchmarks' released baselines do it.

512x1024 in, resized by Pillow's bicubic filter; logits upsampled once to the labels' size; argmax; IoU from one
confusion matrix over all frames; the mean over every class that is scored, single scale, no flip, float32. The
resizing is a declared exception to this package's preparation of frames.

Source: the released code of DA-VSN (Guan et al., ICCV 2021) and TPS (Xing et al., ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

import stpl_rt
from stpl.config import Config
from stpl.data.batches import prefetched
from stpl.data.classes import ClassSet
from stpl.data.dataset import Image, LabelMap, VideoDataset
from stpl.data.picture_file import resized
from stpl.errors import UserError
from stpl.evaluate import labelled_frames
from stpl.metrics import ConfusionMatrix, Floats
from stpl.models.protocol import aligns_corners
from stpl.train.checkpoint import Checkpoint, InputConfig
from stpl.train.processes import Processes


class EvaluationConfig(Config):
    """Size of the network's input; predictions are compared at the labels' own size, 1024x2048 in Cityscapes."""

    height: int = Field(512, ge=1)
    width: int = Field(1024, ge=1)


@dataclass(frozen=True)
class PublishedScore:
    """A confusion matrix and the mean that the benchmarks report of it.

    Attributes:
        classes: all that were predicted.
        unscored: names left out of the mean.
        frames: labelled frames counted.
    """

    classes: ClassSet
    confusion: ConfusionMatrix
    unscored: tuple[str, ...] = ()
    frames: int = 0

    @property
    def iou(self) -> dict[str, float]:
        """By scored class, 0 to 1; nan for a class in neither labels nor predictions."""
        values = self.confusion.iou()
        pairs = zip(self.classes.names, values, strict=True)
        return {name: float(value) for name, value in pairs if name not in self.unscored}

    @property
    def miou(self) -> float:
        """Mean IoU over the scored classes but those that are nan, 0 to 1.

        Unlike :attr:`stpl.metrics.ConfusionMatrix.miou` it counts classes without a label as 0 where they are
        predicted. ValueError before any pixel.
        """
        values = np.array(list(self.iou.values()))
        if np.isnan(values).all():
            raise ValueError(f"expected labelled pixels of a scored class, found none in {self.frames} frames")
        return float(np.nanmean(values))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: shares 0 to 1, null for nan."""
        iou = {name: None if np.isnan(value) else value for name, value in self.iou.items()}
        return {"miou": self.miou, "iou": iou, "frames": self.frames, "pixels": int(self.confusion.counts.sum())}


class PublishedPredictor:
    """A checkpoint as a function from frames of a data set to labels at a given size.

    A network with ``fused_logits`` predicts from each frame, the one before, and the flow between them: the stored
    one where the data has it, else this package's. Every other network sees the frame alone. Logits are upsampled
    with aligned corners where the network says so (``align_corners``), else with half-pixel centres.
    """

    def __init__(self, checkpoint: Checkpoint, config: EvaluationConfig, device: str = "auto") -> None:
        self.input = at_size(checkpoint.input, config).spec()
        self.size = (config.height, config.width)
        self.device = Processes.start(device).device
        with torch.random.fork_rng(devices=[]):  # building draws initial weights; a run in progress must not notice
            self.model: nn.Module = checkpoint.build().to(self.device)
        self.uses_past = hasattr(self.model, "fused_logits")
        self.align_corners = aligns_corners(self.model)
        self._flow = stpl_rt.DisFlow(threads=1)

    def inputs(self, data: VideoDataset, index: int) -> tuple[Tensor, ...]:
        """What the network gets for a frame, batches of one: the frame, or frame, past frame and flow.

        Raises UserError where the network needs the past and there is none.
        """
        frame = resized(data.frame(index), self.size)
        present = self._prepared(frame)
        if not self.uses_past:
            return (present,)
        previous = data.previous(index)
        if previous is None:
            identity = data.frame_id(index)
            raise UserError(
                f"{data.name}: expected the frame before '{identity.name}', which this network needs; it is missing: "
                f"see stpl-adapt doctor --data"
            )
        past = resized(data.frame(previous), self.size)
        stored = data.stored_flow(index)
        flow: Floats = stored if stored is not None else self._computed_flow(frame, past)
        return present, self._prepared(past), torch.from_numpy(flow).permute(2, 0, 1)[None].contiguous()

    @torch.inference_mode()
    def predict(self, inputs: Sequence[Tensor], size: tuple[int, int]) -> LabelMap:
        """Labels (H, W) uint8 at ``size`` = (H, W)."""
        moved = [tensor.to(self.device) for tensor in inputs]
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            logits = self.model.fused_logits(*moved).main if self.uses_past else self.model(*moved)  # type: ignore[operator]
        whole = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=self.align_corners)
        labels: LabelMap = whole[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        return labels

    def _prepared(self, frame: Image) -> Tensor:
        return torch.from_numpy(stpl_rt.preprocess(frame, self.input, threads=1))[None]

    def _computed_flow(self, frame: Image, past: Image) -> NDArray[np.float32]:
        flow: NDArray[np.float32] = self._flow(stpl_rt.luma(frame, self.input), stpl_rt.luma(past, self.input))
        return flow


def evaluate_published(
    checkpoint: Checkpoint,
    data: VideoDataset,
    config: EvaluationConfig | None = None,
    *,
    unscored: tuple[str, ...] = (),
    device: str = "auto",
) -> PublishedScore:
    """Scores a checkpoint on all labelled frames of ``data``.

    Args:
        unscored: classes left out of the mean.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UserError: no labels, classes other than the checkpoint's, or a missing past frame that the network needs.
    """
    frames = labelled_frames(data, checkpoint.classes)
    predictor = PublishedPredictor(checkpoint, config or EvaluationConfig(), device)
    confusion = ConfusionMatrix(len(checkpoint.classes))

    def made(number: int) -> tuple[tuple[Tensor, ...], LabelMap]:
        label = data.label(frames[number])
        assert label is not None  # it is one of the labelled
        return predictor.inputs(data, frames[number]), label

    for _, (inputs, label) in prefetched(made, range(len(frames))):
        confusion.update(predictor.predict(inputs, (label.shape[0], label.shape[1])), label)
    return PublishedScore(checkpoint.classes, confusion, unscored, len(frames))


def at_size(config: InputConfig, size: EvaluationConfig) -> InputConfig:
    """The same preparation at the target's size. UserError where it is not a plain resize."""
    if config.resize != "stretch":
        raise UserError(f"expected a checkpoint whose input is stretched; found resize '{config.resize}'")
    return config.model_copy(update={"height": size.height, "width": size.width})
