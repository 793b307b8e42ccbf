"""How good a model is on labelled video: a checkpoint in PyTorch, or a bundle in the runtime under a schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import stpl_rt
from stpl.data.class_map import ClassMap, ClassOption, match_classes
from stpl.data.classes import ClassSet
from stpl.data.dataset import Image, LabelMap, VideoDataset
from stpl.errors import UserError
from stpl.metrics import ConfusionMatrix, TemporalConsistency, VideoConsistency
from stpl.models.protocol import aligns_corners
from stpl.timing import Timing
from stpl.train.checkpoint import Checkpoint


@dataclass
class Evaluation:
    """What was measured, and on how much.

    Attributes:
        classes: in the order of the ids.
        confusion: over all labelled frames.
        by_age: the same by distance from the key frame; age 0 alone for a checkpoint.
        temporal_consistency: 0 to 1; None where no two consecutive frames were predicted.
        video_consistency: by window, as :meth:`stpl.metrics.VideoConsistency.to_dict`.
        labelled_frames: frames that the confusion counts.
        key_timing: time of key frames in the runtime, None for a checkpoint.
        propagated_timing: the same of the frames between.
        class_map: from the model's classes to the data's, where they are not the same.
    """

    classes: ClassSet
    confusion: ConfusionMatrix
    by_age: dict[int, ConfusionMatrix] = field(default_factory=dict)
    temporal_consistency: float | None = None
    video_consistency: dict[str, dict[str, float | None]] = field(default_factory=dict)
    labelled_frames: int = 0
    key_timing: Timing | None = None
    propagated_timing: Timing | None = None
    frames_per_second: float | None = None
    class_map: ClassMap | None = None

    @property
    def miou(self) -> float:
        """Mean IoU over the classes present in the labels, 0 to 1. ValueError where no pixel is labelled."""
        miou = self.confusion.miou
        if miou is None:
            raise ValueError(f"expected labelled pixels, found none in {self.labelled_frames} frames")
        return miou

    def miou_by_age(self) -> dict[int, float]:
        """mIoU by distance from the key frame, ages without a labelled pixel left out."""
        scores = {age: matrix.miou for age, matrix in sorted(self.by_age.items())}
        return {age: score for age, score in scores.items() if score is not None}

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Shares are 0 to 1, times milliseconds; what could not be measured is null."""
        ages = self.miou_by_age()
        return {
            **self.confusion.to_dict(self.classes.names),
            "class_map": [] if self.class_map is None else self.class_map.report(),
            "labelled_frames": self.labelled_frames,
            "temporal_consistency": self.temporal_consistency,
            "video_consistency": self.video_consistency,
            "miou_by_age": {str(age): score for age, score in ages.items()},
            "miou_age_mean": fmean(ages.values()) if ages else None,
            "miou_age_worst": min(ages.values(), default=None),
            "key_ms": None if self.key_timing is None else vars(self.key_timing),
            "propagated_ms": None if self.propagated_timing is None else vars(self.propagated_timing),
            "frames_per_second": self.frames_per_second,
        }


class Predictor:
    """A checkpoint as a function from frames to labels: the runtime's preparation and sampling around PyTorch."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        if checkpoint.input.resize != "stretch":
            raise UserError(
                f"expected a checkpoint whose input is stretched; found resize '{checkpoint.input.resize}': export it, "
                "and use the bundle"
            )
        self.input = checkpoint.input.spec()
        self._model = checkpoint.build()
        self._align_corners = aligns_corners(self._model)

    def __call__(self, frame: Image) -> LabelMap:
        """Labels (H, W) uint8 of a frame, uint8 (H, W, 3) RGB, at its own resolution."""
        prepared = torch.from_numpy(stpl_rt.preprocess(frame, self.input))[None]
        with torch.inference_mode():
            logits = self._model(prepared)[0].float().contiguous().numpy()
        size = (frame.shape[0], frame.shape[1])
        labels: LabelMap = stpl_rt.sample_argmax(
            logits, size, align_corners=self._align_corners, input_size=(self.input.height, self.input.width)
        )
        return labels


class _Output(Protocol):
    """What :class:`stpl_rt.Result` and a prediction in PyTorch have in common."""

    @property
    def labels(self) -> NDArray[np.uint8]: ...
    @property
    def age(self) -> int: ...


@dataclass(frozen=True)
class _Framewise:
    labels: LabelMap
    age: int = 0


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    data: VideoDataset,
    frames: Sequence[int] | None = None,
    *,
    temporal: bool = False,
    progress: bool = False,
    class_option: ClassOption | None = None,
) -> Evaluation:
    """Evaluates a checkpoint on labelled frames, each at its own resolution.

    Args:
        frames: indices of labelled frames; all of them where None.
        temporal: also predict each frame's predecessor, for temporal consistency.
        progress: show a progress bar.
        class_option: which class of the model is which of the data's, where their names differ. What the model says
            is mapped, not its scores; a class that the data does not have counts as wrong.

    Raises:
        UserError: no labels, or classes other than the checkpoint's.
    """
    class_map = _class_map(data, checkpoint.classes, class_option)
    chosen = labelled_frames(data, checkpoint.classes if class_map is None else class_map.data, frames)
    predict = Predictor(checkpoint)
    wanted = set(chosen)
    if temporal:
        wanted |= {past for past in map(data.previous, chosen) if past is not None}
    tally = _Tally(checkpoint.classes, data, set(chosen), predict.input if temporal else None, class_map)
    for index in _with_progress(sorted(wanted), f"evaluating on {data.name}", progress):
        frame = data.frame(index)
        tally.add(index, frame, _Framewise(predict(frame)))
    return tally.evaluation()


def evaluate_bundle(
    bundle: Path,
    data: VideoDataset,
    frames: Sequence[int] | None = None,
    *,
    schedule: str | None = None,
    threads: int = 0,
    temporal: bool = True,
    progress: bool = False,
    class_option: ClassOption | None = None,
) -> Evaluation:
    """Runs a bundle over the video and evaluates it where there are labels.

    Every sequence is played from its start to its last chosen frame: what the runtime carries from frame to frame
    is part of what is measured.

    Args:
        frames: indices of labelled frames; all of them where None.
        schedule: ``every`` or ``fixed:K``; the bundle's own where None.
        threads: 0: the cores this process may use.
        temporal: also measure temporal consistency.
        progress: show a progress bar.
        class_option: as for :func:`evaluate_checkpoint`.

    Raises:
        UserError: no labels, or classes other than the bundle's.
        stpl_rt.Error: a bundle that cannot be used.
    """
    segmenter = stpl_rt.Segmenter(bundle, schedule=schedule, threads=threads)
    infos = segmenter.bundle.classes
    classes = ClassSet(
        tuple(info.name for info in infos), tuple((info.color[0], info.color[1], info.color[2]) for info in infos)
    )
    class_map = _class_map(data, classes, class_option)
    chosen = labelled_frames(data, classes if class_map is None else class_map.data, frames)
    tally = _Tally(classes, data, set(chosen), segmenter.bundle.input if temporal else None, class_map)
    times: dict[bool, list[float]] = {True: [], False: []}
    for index in _with_progress(_played(data, chosen), f"{segmenter.schedule} on {data.name}", progress):
        frame = data.frame(index)
        if data.previous(index) is None:
            segmenter.reset()
        result = segmenter.push(frame)
        times[result.is_key].append(result.timing["total_ms"])
        tally.add(index, frame, result)
    evaluation = tally.evaluation()
    evaluation.key_timing, evaluation.propagated_timing = Timing.of(times[True]), Timing.of(times[False])
    evaluation.frames_per_second = 1e3 * len(times[True] + times[False]) / sum(times[True] + times[False])
    return evaluation


def labelled_frames(data: VideoDataset, classes: ClassSet, frames: Sequence[int] | None = None) -> list[int]:
    """The frames to evaluate on, ascending. UserError where they have no labels, or labels of other classes."""
    known = data.labelled() if data.classes is not None else []
    if not known or data.classes is None:
        raise UserError(f"{data.name}: expected labelled frames; found {len(data)} frames without labels")
    if data.classes.names != classes.names:
        raise UserError(
            f"{data.name}: expected the model's classes ({', '.join(classes.names)}); "
            f"found ({', '.join(data.classes.names)}); --classes says which is which (docs/models.md)"
        )
    if frames is None:
        return known
    strangers = sorted(set(frames) - set(known))
    if strangers:
        raise ValueError(f"{data.name}: expected labelled frames, found frame {strangers[0]} without a label")
    return sorted(set(frames))


def _class_map(data: VideoDataset, classes: ClassSet, option: ClassOption | None) -> ClassMap | None:
    """The model's classes among the data's, or None where they are the same ones anyway."""
    if option is None or not option.maps or data.classes is None:
        return None
    return match_classes(classes, data.classes, option)


class _Tally:
    """Counts frames as they come, in order; predictions and labels in the data's classes where there is a map."""

    def __init__(
        self,
        classes: ClassSet,
        data: VideoDataset,
        chosen: set[int],
        flow_input: stpl_rt.InputSpec | None,
        class_map: ClassMap | None,
    ) -> None:
        classes = classes if class_map is None else class_map.scored
        self._predictions = None if class_map is None else class_map.of_predictions()
        self._labels = None if class_map is None else class_map.of_labels()
        self._data = data
        self._chosen = chosen
        self._flow_input = flow_input
        self._flow = stpl_rt.DisFlow()
        self._temporal = TemporalConsistency(len(classes))
        self._video = VideoConsistency()
        self._past: tuple[int, LabelMap, NDArray[np.uint8]] | None = None
        self._result = Evaluation(classes, ConfusionMatrix(len(classes)), class_map=class_map)

    def add(self, index: int, frame: Image, output: _Output) -> None:
        """Counts the prediction of frame ``index``."""
        follows = self._past is not None and self._past[0] == self._data.previous(index)
        label = self._data.label(index) if index in self._chosen else None
        said = output.labels if self._predictions is None else self._predictions[output.labels]
        label = label if label is None or self._labels is None else self._labels[label]
        if self._flow_input is not None:
            self._add_consistency(index, frame, said, follows)
            self._video.update(said, label, new_sequence=not follows)
        if label is None:
            return
        matrix = ConfusionMatrix(len(self._result.classes))
        matrix.update(said, label)
        self._result.confusion.merge(matrix)
        age = self._result.by_age.setdefault(output.age, ConfusionMatrix(len(self._result.classes)))
        age.merge(matrix)
        self._result.labelled_frames += 1

    def evaluation(self) -> Evaluation:
        """What was counted."""
        if self._flow_input is not None:
            self._result.temporal_consistency = self._temporal.score
            self._result.video_consistency = self._video.to_dict()
        return self._result

    def _add_consistency(self, index: int, frame: Image, labels: LabelMap, follows: bool) -> None:
        assert self._flow_input is not None
        luma = stpl_rt.luma(frame, self._flow_input)
        if follows and self._past is not None and self._past[1].shape == labels.shape:
            flow = self._flow(luma, self._past[2])
            self._temporal.update(labels, self._past[1], flow, stpl_rt.flow_validity(luma, self._past[2], flow))
        self._past = (index, labels, luma)


def _played(data: VideoDataset, chosen: Sequence[int]) -> list[int]:
    """All frames from the start of a sequence to its last chosen frame, for every sequence that has one."""
    played: set[int] = set()
    for index in reversed(chosen):
        if index not in played:
            start = index - data.frame_id(index).index_in_sequence
            played.update(range(start, index + 1))
    return sorted(played)


def _with_progress(indices: Sequence[int], title: str, show: bool) -> Iterator[int]:
    """The indices, with a progress bar while they are worked off."""
    if not show:
        yield from indices
        return
    text = TextColumn("{task.description}")
    with Progress(text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(title, total=len(indices))
        for index in indices:
            yield index
            bar.advance(task)
