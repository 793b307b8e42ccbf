"""What every source of video looks like to training and evaluation."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpl.data.classes import ClassSet

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""

LabelMap = NDArray[np.uint8]
"""(H, W) training ids; IGNORE_ID where unlabelled."""

Flow = NDArray[np.float32]
"""(H, W, 2) (dx, dy) in pixels, on the grid of frame t and pointing into t-1: past(x + dx, y + dy)."""


@dataclass(frozen=True)
class FrameId:
    """Where a frame comes from."""

    sequence: str
    name: str  # the file's name without its suffix, or the zero-padded index in a video
    index_in_sequence: int


class VideoDataset(ABC):
    """Frames of one or more video sequences, numbered 0 .. len-1, each sequence in one piece and in order of time.

    Index arguments outside 0 .. len-1 raise IndexError. Instances can be pickled, used in DataLoader workers,
    and asked from several threads at once.
    """

    name: str
    """Short name of the data set, for tables and provenance."""

    classes: ClassSet | None
    """The classes of the labels; None for video without labels."""

    sequences: list[str]
    """Names of the sequences, in the order of their frames."""

    fps: float | None = None
    """Frames a second; None where unknown or not the same in all sequences."""

    in_order: bool = False
    """Whether frames come much cheaper in order: a video file whose key frames are rare."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames in all sequences."""

    @abstractmethod
    def frame_id(self, index: int) -> FrameId:
        """Sequence, name and place of a frame."""

    @abstractmethod
    def frame(self, index: int) -> Image:
        """The picture: (H, W, 3) uint8 RGB."""

    @abstractmethod
    def label(self, index: int) -> LabelMap | None:
        """The training ids, (H, W) uint8 of the frame's size, or None where the frame has no label."""

    @abstractmethod
    def labelled(self) -> list[int]:
        """Indices of the frames that have a label, ascending."""

    def previous(self, index: int) -> int | None:
        """Index of the frame before this one in the same sequence; None for a sequence's first frame."""
        return index - 1 if self.frame_id(index).index_in_sequence > 0 else None

    def exact_flow(self, index: int) -> Flow | None:
        """The true flow from this frame into `previous(index)`, (H, W, 2) float32; None where it is not known."""
        self.frame_id(index)  # an index out of range is an error here too
        return None

    def stored_flow(self, index: int) -> Flow | None:
        """Flow from this frame into `previous(index)` that comes with the data: on a grid of its own, (h, w, 2) float32
        in that grid's pixels. None where there is none, and flow has to be computed."""
        self.frame_id(index)
        return None

    def files(self, *, labels: bool = False, flow: bool = False) -> list[Path]:
        """The files that hold the frames, and on request labels and stored flow; none where the data is generated."""
        return []


def files_digest(files: Iterable[Path], root: Path | None = None) -> str:
    """Tells files from others without reading them: by name, size and time of change, wherever the folder lies.

    Args:
        root: names are paths under this folder; the files' own names where None.
    """
    found = ((file, file.stat()) for file in files)
    known = sorted(
        (file.name if root is None else str(file.relative_to(root)), status.st_size, status.st_mtime_ns)
        for file, status in found
    )
    sha = hashlib.sha256()
    for name, size, changed in known:
        sha.update(f"{name} {size} {changed}\n".encode())
    return f"{len(known)} files, {sha.hexdigest()[:12]}"
