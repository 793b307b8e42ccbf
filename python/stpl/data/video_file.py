"""Video files as a data set without labels: one sequence a file."""

from __future__ import annotations

import itertools
import os
import shlex
import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stpl.data.dataset import FrameId, Image, LabelMap, VideoDataset
from stpl.data.folder import natural_key
from stpl.data.video_decoder import Decoder, open_video
from stpl.data.video_index import build_index
from stpl.errors import UserError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_CONTAINERS = ("mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg", "y4m", "ogv", "wmv")
_BARE_STREAMS = ("h264", "264", "hevc", "h265", "265")
VIDEO_SUFFIXES = frozenset("." + name for name in _CONTAINERS + _BARE_STREAMS)

_OPEN_FILES = 4  # decoders kept open at once; each holds a file handle and reference pictures
_RARE_KEYS = 4  # frames from one key frame to the next from which a frame at random costs more than in order
_RECENT_FRAMES = 8  # a pair asks for t and t-1, and t-1 was just decoded on the way to t
# Decoders of the parent process and frames from their pools, never to be freed here: see VideoFile._guard.
_inherited: list[tuple[Decoder | None, OrderedDict[int, VideoFrame]]] = []


def videos_in(folder: Path) -> list[Path]:
    """The video files directly in a folder, in natural order of their names."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file())
    return sorted((f for f in files if not f.name.startswith(".")), key=lambda f: (natural_key(f.stem), f.name))


class VideoFile:
    """Random access to the frames of one file: decodes forward from the keyframe before, and keeps the latest frames.

    Safe to use from several threads (one at a time), after a fork, and after pickling: each process opens the file
    for itself.

    Raises UserError for a missing file, one that is no video, or one without a frame that can be decoded.
    """

    _decoder: Decoder | None
    _latest: int  # number of the frame decoded last
    _recent: OrderedDict[int, VideoFrame]

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        container, stream = open_video(self.path)
        self.fps = float(stream.average_rate) if stream.average_rate else None
        container.close()
        self.index = build_index(self.path)
        self._start_afresh()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "fps": self.fps, "index": self.index}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_afresh()

    def frame(self, number: int) -> Image:
        """Frame `number` as (H, W, 3) uint8 RGB. Raises UserError where the file is damaged there."""
        self._guard()
        with self._lock:
            frame = self._recent.get(number)
            if frame is None:
                frame = self._decode(number)
            return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)

    def close(self) -> None:
        """Frees the decoder; the next `frame` opens it again."""
        self._guard()
        with self._lock:
            if self._decoder is not None:
                self._decoder.close()
            self._forget()  # and keep the lock: another thread may be waiting for it

    def _start_afresh(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._decoder = None
        self._latest = -1
        self._recent = OrderedDict()

    def _guard(self) -> None:
        """After a fork the parent's decoder must be neither used nor freed, nor its frames: its threads do not exist
        here, and a lock that one of them held stays held."""
        if self._process != os.getpid():
            _inherited.append((self._decoder, self._recent))
            self._start_afresh()

    def _decode(self, number: int) -> VideoFrame:
        key = self.index.key_before(number)
        if self._decoder is None:
            self._decoder = Decoder(self.path)
        if not key - 1 <= self._latest < number:  # neither on the way there nor just before the keyframe
            self._go_to(key)
        frame = self._decode_up_to(number)
        while frame is None and key > 0:  # some formats seek to after what was asked for
            key = self.index.key_before(key - 1)
            self._go_to(key)
            frame = self._decode_up_to(number)
        if frame is None:
            self._latest = self.index.count  # whatever is asked for next is looked up anew
            raise UserError(
                f"cannot decode frame {number} of {self.path}: the file is damaged there; re-encode or cut it"
            )
        return frame

    def _go_to(self, key: int) -> None:
        assert self._decoder is not None
        times = self.index.times
        self._decoder.seek(times[key] if times is not None and key > 0 else None)
        self._latest = key - 1

    def _decode_up_to(self, number: int) -> VideoFrame | None:
        """Decodes until frame `number` comes out; None where a later frame or the end comes first."""
        assert self._decoder is not None
        first = self._latest + 1
        while (frame := self._decoder.next()) is not None:
            found = self.index.number_at(frame.pts) if self.index.times is not None else self._latest + 1
            if found is None or found < first:
                continue  # shown before the keyframe: may refer to what was not decoded
            self._latest = found
            self._remember(found, frame)
            if found >= number:
                return frame if found == number else None
        return None

    def _remember(self, number: int, frame: VideoFrame) -> None:
        self._recent[number] = frame
        self._recent.move_to_end(number)
        if len(self._recent) > _RECENT_FRAMES:
            self._recent.popitem(last=False)


class VideoFileDataset(VideoDataset):
    """One or more video files, each a sequence named after its file.

    Args:
        paths: The files, at least one.
        name: The data set's name; the first file's where absent.

    Raises UserError as VideoFile does, for a file whose end is damaged or cut off, and for an empty list of paths.
    """

    def __init__(self, paths: Sequence[Path], name: str | None = None) -> None:
        if not paths:
            raise UserError("expected at least one video file, found none")
        self._videos = [_whole(VideoFile(path)) for path in paths]
        self.name = name or paths[0].stem
        self.classes = None
        stems = Counter(path.stem for path in paths)
        self.sequences = [path.stem if stems[path.stem] == 1 else path.name for path in paths]
        self._ends = list(itertools.accumulate(video.index.count for video in self._videos))
        rates = {video.fps for video in self._videos}
        self.fps = rates.pop() if len(rates) == 1 else None
        self.in_order = sum(len(video.index.keys) for video in self._videos) * _RARE_KEYS < self._ends[-1]
        self._in_use: OrderedDict[int, None] = OrderedDict()  # numbers of the videos with open decoders, oldest first

    def __len__(self) -> int:
        return self._ends[-1]

    def frame_id(self, index: int) -> FrameId:
        video, number = self._locate(index)
        return FrameId(self.sequences[video], f"{number:06d}", number)

    def frame(self, index: int) -> Image:
        video, number = self._locate(index)
        self._in_use.pop(video, None)  # to the end of the order
        self._in_use[video] = None
        if len(self._in_use) > _OPEN_FILES:
            self._videos[self._in_use.popitem(last=False)[0]].close()
        return self._videos[video].frame(number)

    def label(self, index: int) -> LabelMap | None:
        self._locate(index)
        return None

    def labelled(self) -> list[int]:
        return []

    def files(self, *, labels: bool = False, flow: bool = False) -> list[Path]:
        return [video.path for video in self._videos]

    def _locate(self, index: int) -> tuple[int, int]:
        """(number of the video, number of the frame in it)"""
        if not 0 <= index < len(self):
            raise IndexError(f"expected a frame index 0 to {len(self) - 1}, found {index}")
        video = bisect_right(self._ends, index)
        return video, index - (self._ends[video - 1] if video > 0 else 0)


def _whole(video: VideoFile) -> VideoFile:
    """The video, or UserError where its end is missing: whoever adapts to half a recording should know."""
    if video.index.damaged:
        count = video.index.count
        raise UserError(
            f"{video.path}: expected a complete video, found it damaged or cut off after {count} frames: repair it, or "
            f"keep what is intact: ffmpeg -i {shlex.quote(str(video.path))} -frames:v {count} -c copy whole.mkv"
        )
    return video
