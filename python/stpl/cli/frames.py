"""The input of ``stpl-adapt segment``: any source of frames as one stream, one frame in memory at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stpl.data.dataset import Image, VideoDataset
from stpl.data.picture_file import PICTURE_SUFFIXES
from stpl.data.specs import open_dataset
from stpl.errors import UserError
from stpl_rt.video import VideoError, VideoReader


@dataclass(frozen=True)
class StreamFrame:
    """A frame, uint8 (H, W, 3) RGB, and where it comes from."""

    pixels: Image
    sequence: str
    name: str
    """The file's name without its suffix, or the zero-padded index."""
    starts_sequence: bool


class FrameStream:
    """Frames in order, to be iterated once.

    Args:
        address: a data spec or path as :func:`stpl.data.specs.open_dataset` takes it, an address that FFmpeg opens
            (``rtsp://…``), or ``camera:N``. Video files are decoded as they come.

    Attributes:
        total: number of frames; None where only the end of the stream will tell.
        fps: frames per second; None where unknown.
        sequences: how many there are.
        live: whether the stream ends only when it is stopped.

    Raises:
        UserError: nothing there, or nothing that can be read.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.live = "://" in address or re.fullmatch(r"camera:\d+", address) is not None
        file = Path(address).expanduser()
        is_video = file.is_file() and file.suffix.lower() not in PICTURE_SUFFIXES
        self._source: VideoReader | VideoDataset
        if self.live or is_video:
            self._source = _open_video(address if self.live else str(file))
            self.total, self.sequences = None, 1
        else:
            self._source = open_dataset(address)
            self.total, self.sequences = len(self._source), len(self._source.sequences)
        self.fps = self._source.fps

    def __iter__(self) -> Iterator[StreamFrame]:
        """Yields the frames. Raises UserError where a file is damaged or cut off."""
        if isinstance(self._source, VideoDataset):
            yield from _of_dataset(self._source)
            return
        with closing(self._source) as reader:
            try:
                for index, pixels in enumerate(reader):
                    yield StreamFrame(pixels, self.address, f"{index:06d}", index == 0)
            except VideoError as error:
                raise UserError(str(error)) from error


def _open_video(address: str) -> VideoReader:
    try:
        return VideoReader(address)
    except (VideoError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


def _of_dataset(dataset: VideoDataset) -> Iterator[StreamFrame]:
    for index in range(len(dataset)):
        frame_id = dataset.frame_id(index)
        pixels = dataset.frame(index)
        yield StreamFrame(pixels, frame_id.sequence, frame_id.name, frame_id.index_in_sequence == 0)
