"""What the data sets of the benchmarks have in common: numbered frames, of which some have labels and stored flow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpl.data.benchmark_classes import IdMap
from stpl.data.dataset import Flow, FrameId, Image, LabelMap, VideoDataset
from stpl.data.flow_files import read_flow
from stpl.data.picture_file import picture_size
from stpl.errors import UserError


@dataclass(frozen=True)
class NumberedFrame:
    """A picture file, and the label where the published list has the frame."""

    recording: str
    number: int
    image: Path
    label: Path | None = None


@dataclass(frozen=True)
class Listing:
    """What lies in a data root.

    Attributes:
        frames: by recording, then number.
        labels_without_frame: labels of the published list whose picture is missing.
    """

    frames: list[NumberedFrame]
    labels_without_frame: list[Path]

    @classmethod
    def joined(cls, images: dict[tuple[str, int], Path], labels: dict[tuple[str, int], Path]) -> Listing:
        """Pictures and labels by recording and number."""
        frames = [NumberedFrame(*key, image, labels.get(key)) for key, image in sorted(images.items())]
        return cls(frames, [label for key, label in sorted(labels.items()) if key not in images])


class NumberedVideo(VideoDataset):
    """A benchmark's frames. Frames of a recording whose numbers follow each other are one sequence.

    So a frame's predecessor is the frame of the number before, and nothing else.

    Args:
        name: of the data set.
        listing: what there is.
        id_map: which ids in the label files stand for which class.
        context: only the labelled frames and this many frames before each; all frames where None.
        flow: folder of stored flow; every labelled frame with a predecessor must have its file there.

    Raises UserError where no frame is left, and for missing flow files.
    """

    published: dict[str, int]
    """Frames in the published list, by part of the data set."""

    def __init__(
        self, name: str, listing: Listing, id_map: IdMap, *, context: int | None = None, flow: Path | None = None
    ) -> None:
        self.name = name
        self.listing = listing
        self.classes = id_map.class_set()
        self.training_ids: NDArray[np.uint8] = id_map.table()
        self._frames = listing.frames if context is None else _with_context(listing.frames, context)
        if not self._frames:
            raise UserError(f"{name}: expected labelled frames to choose by context={context}; found none with a label")
        self._ids = _frame_ids(self._frames)
        self.sequences = list(dict.fromkeys(identity.sequence for identity in self._ids))
        self._flow_folder = flow
        self._flow_files = _names_in(flow) if flow is not None else frozenset()
        if flow is not None:
            self._require_flow(flow)

    def __len__(self) -> int:
        return len(self._frames)

    def frame_id(self, index: int) -> FrameId:
        self.numbered(index)
        return self._ids[index]

    def frame(self, index: int) -> Image:
        return self.read_image(self.numbered(index))

    def label(self, index: int) -> LabelMap | None:
        frame = self.numbered(index)
        return None if frame.label is None else self.read_label(frame, frame.label)

    def labelled(self) -> list[int]:
        return [index for index, frame in enumerate(self._frames) if frame.label is not None]

    def stored_flow(self, index: int) -> Flow | None:
        frame = self.numbered(index)
        if self._flow_folder is None or self.previous(index) is None or self.flow_name(frame) not in self._flow_files:
            return None
        return read_flow(self._flow_folder / self.flow_name(frame), self.aspect(frame))

    def files(self, *, labels: bool = False, flow: bool = False) -> list[Path]:
        found = [frame.image for frame in self._frames]
        if labels:
            found += [frame.label for frame in self._frames if frame.label is not None]
        if flow and self._flow_folder is not None:
            names = (self.flow_name(frame) for frame in self._frames)
            found += [self._flow_folder / name for name in names if name in self._flow_files]
        return found

    def numbered(self, index: int) -> NumberedFrame:
        """The files of a frame."""
        if not 0 <= index < len(self._frames):
            raise IndexError(f"expected a frame index 0 to {len(self._frames) - 1}, found {index}")
        return self._frames[index]

    def missing_flow(self) -> list[str]:
        """Names of the stored flow that labelled frames with a predecessor lack."""
        wanted = (index for index in self.labelled() if self.previous(index) is not None)
        names = (self.flow_name(self._frames[index]) for index in wanted)
        return [name for name in names if name not in self._flow_files]

    def aspect(self, frame: NumberedFrame) -> float:
        """Width / height of the frame as it is given out."""
        height, width = picture_size(frame.image)
        return width / height

    @abstractmethod
    def read_image(self, frame: NumberedFrame) -> Image:
        """(H, W, 3) uint8 RGB."""

    @abstractmethod
    def read_label(self, frame: NumberedFrame, label: Path) -> LabelMap:
        """(H, W) uint8 training ids."""

    def part(self, frame: NumberedFrame) -> str:
        """The key of `published` that a frame belongs to."""
        return frame.recording

    @abstractmethod
    def image_name(self, recording: str, number: int) -> str:
        """File name of a picture."""

    @abstractmethod
    def flow_name(self, frame: NumberedFrame) -> str:
        """File name of the stored flow of a frame into its predecessor."""

    def _require_flow(self, folder: Path) -> None:
        missing = self.missing_flow()
        if missing:
            raise UserError(
                f"{self.name}: expected stored flow of its labelled frames in {folder}; {len(missing)} are missing, "
                f"the first {missing[0]}: complete it, or leave out 'flow' to have flow computed"
            )
        if not any(self.flow_name(frame) in self._flow_files for frame in self._frames):
            raise UserError(
                f"{self.name}: expected stored flow in {folder}, named as {self.flow_name(self._frames[-1])}; found "
                f"{len(self._flow_files)} files, none of this data set's frames"
            )


def require_same_size(label: Path, found: tuple[int, ...], expected: tuple[int, int]) -> None:
    """UserError where a label has not its frame's size, both as (height, width)."""
    if found != expected:
        raise UserError(
            f"label {label}: expected the size of its frame, {expected[1]}x{expected[0]}, found {found[1]}x{found[0]}"
        )


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, hidden entries left out, ascending. UserError where there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"expected a folder at {folder}, found {'a file' if folder.exists() else 'nothing'} there")
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read folder {folder}: {error.strerror}") from error


def _names_in(folder: Path) -> frozenset[str]:
    return frozenset(entry.name for entry in entries(folder))


def _with_context(frames: Sequence[NumberedFrame], context: int) -> list[NumberedFrame]:
    kept = {
        (frame.recording, frame.number - back)
        for frame in frames
        if frame.label is not None
        for back in range(context + 1)
    }
    return [frame for frame in frames if (frame.recording, frame.number) in kept]


def _frame_ids(frames: Sequence[NumberedFrame]) -> list[FrameId]:
    """Runs of consecutive numbers become sequences, named after their recording and first frame."""
    starts = [0] + [
        index + 1
        for index, (past, frame) in enumerate(pairwise(frames))
        if (past.recording, past.number + 1) != (frame.recording, frame.number)
    ]
    identities = []
    for start, end in pairwise([*starts, len(frames)]):
        sequence = f"{frames[start].recording}_{frames[start].number:06d}"
        identities += [FrameId(sequence, frames[i].image.stem, i - start) for i in range(start, end)]
    return identities
