"""How good labels are (IoU, accuracy) and how steady they are in time (temporal and video consistency).

Labels and predictions are (H, W) arrays of class ids 0 .. C-1; labels may hold IGNORE_ID. A measure without anything to
measure on is None ("n/a"), never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stpl.data.classes import IGNORE_ID, MAX_CLASSES

Ids = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]


class ConfusionMatrix:
    """Counts of (label, prediction) over pixels, and what follows from them.

    Args:
        num_classes: C, 1 to 255.

    Attributes:
        counts: (C, C) int64; row = label, column = prediction. Pixels labelled IGNORE_ID are not counted.

    IoU is that of PASCAL VOC (Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010): intersection
    over union of a class's pixels, summed over all frames.
    """

    def __init__(self, num_classes: int) -> None:
        if not 1 <= num_classes <= MAX_CLASSES:
            raise ValueError(f"expected 1 to {MAX_CLASSES} classes, found {num_classes}")
        self.num_classes = num_classes
        self.counts: NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)

    def update(self, prediction: Ids, label: Ids) -> None:
        """Counts one frame. Raises ValueError for different shapes and for ids outside 0 .. C-1 (labels: or IGNORE_ID).

        Predictions are checked where the label is IGNORE_ID, too: an id outside the range is a fault wherever it is.
        """
        if prediction.shape != label.shape:
            raise ValueError(f"expected a prediction of the label's shape {label.shape}, found {prediction.shape}")
        pairs = (_as_bytes(label, "label").astype(np.uint16) << 8) | _as_bytes(prediction, "prediction")
        joint = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
        classes = self.num_classes
        _refuse(np.flatnonzero(joint[:, classes:].any(axis=0)) + classes, "predictions", f"0 to {classes - 1}")
        strangers = np.flatnonzero(joint[classes:IGNORE_ID].any(axis=1)) + classes
        _refuse(strangers, "labels", f"0 to {classes - 1} and {IGNORE_ID}")
        self.counts += joint[:classes, :classes]

    def merge(self, other: ConfusionMatrix) -> None:
        """Adds the counts of another matrix of the same number of classes."""
        if other.num_classes != self.num_classes:
            raise ValueError(f"expected a matrix of {self.num_classes} classes, found one of {other.num_classes}")
        self.counts += other.counts

    def present(self) -> NDArray[np.bool_]:
        """(C,) whether a class occurs in the labels."""
        return np.asarray(self.counts.sum(axis=1) > 0)

    def iou(self) -> NDArray[np.float64]:
        """(C,) intersection over union, 0 to 1; nan for classes that are in neither labels nor predictions."""
        intersection = np.diagonal(self.counts)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - intersection
        iou = np.full(self.num_classes, np.nan)
        np.divide(intersection, union, out=iou, where=union > 0)
        return iou

    @property
    def miou(self) -> float | None:
        """Mean IoU over the classes present in the labels, 0 to 1; None before any labelled pixel."""
        present = self.present()
        return float(self.iou()[present].mean()) if present.any() else None

    @property
    def pixel_accuracy(self) -> float | None:
        """Share of labelled pixels whose prediction is right, 0 to 1; None before any labelled pixel."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts)) / total if total > 0 else None

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """For JSON: mIoU, pixel accuracy, IoU by class name (null where absent) and the number of labelled pixels."""
        if len(names) != self.num_classes:
            raise ValueError(f"expected {self.num_classes} class names, found {len(names)}")
        iou = [None if np.isnan(value) else float(value) for value in self.iou()]
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "iou": dict(zip(names, iou, strict=True)),
            "pixels": int(self.counts.sum()),
        }


def warp_labels(past: Ids, flow: Floats) -> NDArray[np.uint8]:
    """The labels of frame t-1 brought to frame t: out(x, y) = past(x + dx, y + dy), nearest neighbour.

    Args:
        past: (H, W) ids of frame t-1.
        flow: (H, W, 2) flow of t into t-1, (dx, dy) in pixels of this grid.

    Returns (H, W) ids, IGNORE_ID where the flow leaves the frame or is not finite.
    """
    height, width = past.shape
    if flow.shape != (height, width, 2):
        raise ValueError(f"expected flow of shape {(height, width, 2)}, found {flow.shape}; see resize_flow")
    x = np.rint(flow[..., 0] + np.arange(width)[None, :])
    y = np.rint(flow[..., 1] + np.arange(height)[:, None])
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # False for nan
    columns, rows = np.where(inside, x, 0).astype(np.intp), np.where(inside, y, 0).astype(np.intp)
    return np.where(inside, _as_bytes(past, "past")[rows, columns], np.uint8(IGNORE_ID))


def resize_flow(flow: Floats, height: int, width: int) -> NDArray[np.float32]:
    """Flow on a grid of another size: read bilinearly (half-pixel centres), vectors scaled per axis.

    Args:
        flow: (h, w, 2).
        height: Rows of the result.
        width: Columns of the result.

    Returns (height, width, 2).
    """
    rows, columns = flow.shape[:2]
    if (rows, columns) == (height, width):
        return np.asarray(flow, np.float32)
    along_y = _interpolate(np.asarray(flow, np.float32), height, axis=0)
    resized = _interpolate(along_y, width, axis=1)
    return resized * np.array([width / columns, height / rows], np.float32)


class TemporalConsistency:
    """mIoU of each prediction against the one before, warped along optical flow: high where nothing flickers.

    Needs no labels, and says nothing of whether the predictions are right: a constant output scores 1.

    After Liu et al., "Efficient Semantic Video Segmentation with Per-frame Inference" (ECCV 2020), with the counts
    summed over all frames, and over the classes that occur in either of the two (a class that flashes up counts).

    Args:
        num_classes: C, 1 to 255.
    """

    def __init__(self, num_classes: int) -> None:
        self._matrix = ConfusionMatrix(num_classes)

    def update(self, prediction: Ids, past: Ids, flow: Floats, valid: NDArray[Any] | None = None) -> None:
        """Counts one frame.

        Args:
            prediction: (H, W) ids of frame t.
            past: (H, W) ids of frame t-1 of the same sequence.
            flow: (h, w, 2) flow of t into t-1, (dx, dy) in pixels of its own grid; resized to (H, W) where needed.
            valid: (h, w) where the flow can be trusted: bool, or validity 0 to 1 of which 0.5 and more counts.
        """
        height, width = prediction.shape
        warped = warp_labels(past, resize_flow(flow, height, width))
        if valid is not None:
            if valid.shape != flow.shape[:2]:
                raise ValueError(f"expected validity of the flow's size {flow.shape[:2]}, found {valid.shape}")
            trusted = valid if valid.dtype == np.bool_ else valid >= 0.5
            rows = _nearest(height, valid.shape[0])
            columns = _nearest(width, valid.shape[1])
            warped[~trusted[rows[:, None], columns]] = IGNORE_ID
        self._matrix.update(prediction, warped)

    @property
    def score(self) -> float | None:
        """0 to 1; None before any pixel that could be compared."""
        iou = self._matrix.iou()
        return None if np.isnan(iou).all() else float(np.nanmean(iou))


class VideoConsistency:
    """Share of the pixels whose label stays the same over n frames on which the prediction stays the same, too.

    VC_n of Miao et al., "VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild" (CVPR 2021), averaged over
    all clips of n consecutive labelled frames of a sequence. Two versions: the paper's formula, where the prediction
    must also be right, and the one commonly computed, where it must only be constant (a constant output is perfect).
    Unlike the common code, the last clip of a sequence counts, and unlabelled pixels do not.

    Frames come in order: `update` for each, with None where one has no label.

    Args:
        windows: The n, each 2 or more.
    """

    def __init__(self, windows: Sequence[int] = (8, 16)) -> None:
        if not windows or min(windows) < 2:
            raise ValueError(f"expected windows of 2 frames or more, found {list(windows)}")
        self._scores: dict[int, list[tuple[float, float]]] = {window: [] for window in windows}
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        # For each pixel, for how many frames up to this one: the label is the same; the prediction is; it is right.
        self._runs: NDArray[np.int32] = np.zeros((3, 0, 0), np.int32)

    def update(self, prediction: Ids, label: Ids | None, *, new_sequence: bool = False) -> None:
        """Takes the next frame of the sequence; `new_sequence` with the first frame of another."""
        if new_sequence or label is None:
            self._last = None
        if label is None:
            return
        if prediction.shape != label.shape:
            raise ValueError(f"expected a prediction of the label's shape {label.shape}, found {prediction.shape}")
        seen, said = _as_bytes(label, "label"), _as_bytes(prediction, "prediction")
        if self._last is None or self._last[0].shape != seen.shape:
            self._runs = np.zeros((3, *seen.shape), np.int32)
        else:
            self._runs[0] *= seen == self._last[0]
            self._runs[1] *= said == self._last[1]
        self._runs[:2] += 1
        self._runs[0][seen == IGNORE_ID] = 0
        self._runs[2] = np.where(said == seen, self._runs[2] + 1, 0)
        self._last = (seen.copy(), said.copy())
        self._close_clips()

    def score(self, window: int) -> float | None:
        """The prediction the same and right, 0 to 1; None without a clip of `window` consecutive labelled frames."""
        return self._mean(window, 0)

    def common_score(self, window: int) -> float | None:
        """The prediction the same, right or wrong, 0 to 1; None as `score`."""
        return self._mean(window, 1)

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """For JSON: {"8": {"score": …, "common_score": …}, …}."""
        return {str(n): {"score": self.score(n), "common_score": self.common_score(n)} for n in self._scores}

    def _close_clips(self) -> None:
        """Scores the clips that end with this frame."""
        for window, scores in self._scores.items():
            same_label, same_prediction, right = self._runs >= window
            steady = int(same_label.sum())
            if steady > 0:
                kept = [int((same_label & condition).sum()) / steady for condition in (right, same_prediction)]
                scores.append((kept[0], kept[1]))

    def _mean(self, window: int, column: int) -> float | None:
        if window not in self._scores:
            raise ValueError(f"expected one of the windows {list(self._scores)}, found {window}")
        scores = self._scores[window]
        return float(np.mean([both[column] for both in scores])) if scores else None


def _as_bytes(ids: Ids, what: str) -> NDArray[np.uint8]:
    if ids.dtype == np.uint8:
        return ids  # type: ignore[return-value]
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"expected {what} ids of an integer type, found {ids.dtype}")
    if ids.size > 0 and (ids.min() < 0 or ids.max() > 255):
        raise ValueError(f"expected {what} ids 0 to 255, found {ids.min()} to {ids.max()}")
    return ids.astype(np.uint8)


def _refuse(found: NDArray[Any], what: str, expected: str) -> None:
    if found.size > 0:
        raise ValueError(f"expected {what} {expected}, found {', '.join(str(i) for i in found)}")


def _interpolate(values: NDArray[np.float32], length: int, axis: int) -> NDArray[np.float32]:
    """Linear interpolation along one axis with half-pixel centres and clamped borders."""
    count = values.shape[axis]
    position = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
    low = np.floor(position).astype(np.intp)
    shape = [1] * values.ndim
    shape[axis] = length
    weight = (position - low).astype(np.float32).reshape(shape)
    below = np.take(values, low, axis)
    above = np.take(values, np.minimum(low + 1, count - 1), axis)
    return np.asarray(below + (above - below) * weight, np.float32)


def _nearest(length: int, count: int) -> NDArray[np.intp]:
    """For each of `length` pixels the one of `count` that its centre falls into."""
    return ((2 * np.arange(length) + 1) * count // (2 * length)).astype(np.intp)
