"""Video files, streams and cameras in and H.264 files out, through PyAV (an optional package)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
TimedPixels = tuple[Pixels, float | None]

logger = logging.getLogger(__name__)

# A file that ends this much before its own header says has been cut off; containers round, and streams of one
# file end at different times.
_TRUNCATED_SECONDS = 0.5


class VideoError(ValueError):
    """A video that cannot be read or written; says which, what was expected and what was found."""


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise ImportError("reading and writing video needs PyAV; run: python -m pip install av") from error
    return av


class VideoReader:
    """Frames of a video, in order, each uint8 (H, W, 3) RGB. Iterate once; use as a context manager.

    Args:
        source: a file, an address that FFmpeg opens (``rtsp://…``), or ``camera:N`` for /dev/videoN.

    Attributes:
        fps: frames per second, None where the container does not say.
        width, height: pixels, as the stream's header says.

    Raises:
        FileNotFoundError: for a file that is not there.
        VideoError: for what is no video, or (while iterating) is damaged or cut off.
        ImportError: without PyAV.
    """

    def __init__(self, source: str | Path) -> None:
        av = _pyav()
        self._source = str(source)
        name, options = self._source, {}
        if camera := re.fullmatch(r"camera:(\d+)", name):
            name, options = f"/dev/video{camera[1]}", {"format": "v4l2"}
        if "://" not in name and not Path(name).exists():
            raise FileNotFoundError(f"{self._source}: no such video" + (f" ({name})" if options else ""))
        if Path(name).is_dir():
            raise VideoError(f"{self._source}: expected a video, found a folder")
        try:
            self._container = av.open(name, **options)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise VideoError(f"{self._source}: cannot be opened as a video: {error}") from error
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{self._source}: expected a video stream, found none")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps: float | None = float(rate) if rate else None
        self.width: int = self._stream.width
        self.height: int = self._stream.height

    def __iter__(self) -> Iterator[Pixels]:
        """Yield the frames that are left."""
        return (pixels for pixels, _ in self.timed())

    def timed(self) -> Iterator[TimedPixels]:
        """Yield the frames that are left, each with its time in seconds, None where the decoder does not know it.

        Times begin anywhere: those of cameras and streams are of their own clocks.
        """
        av = _pyav()
        count, end = 0, 0.0
        try:
            for frame in self._container.decode(self._stream):
                pixels: Pixels = frame.to_ndarray(format="rgb24")
                count += 1
                end = max(end, frame.time or 0.0)
                yield pixels, frame.time
        except av.error.FFmpegError as error:
            raise VideoError(f"{self._source}: damaged or cut off after {count} frames: {error}") from error
        self._check_end(count, end)

    def _check_end(self, count: int, end: float) -> None:
        """Refuse a file that ends before its header says; decoders take that for a plain end."""
        if count == 0:
            raise VideoError(f"{self._source}: expected frames, found none that can be decoded")
        if not self._stream.duration or not self._stream.time_base:
            return
        start = float((self._stream.start_time or 0) * self._stream.time_base)
        expected = float(self._stream.duration * self._stream.time_base)
        found = end - start + (1 / self.fps if self.fps else 0.0)
        if found < expected - _TRUNCATED_SECONDS:
            raise VideoError(
                f"{self._source}: cut off: expected {expected:.2f} s of video, found {found:.2f} s ({count} frames)"
            )

    def close(self) -> None:
        """Close the file or stream."""
        self._container.close()

    def __enter__(self) -> VideoReader:
        """Return the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the reader."""
        self.close()


def read_frames(source: str | Path) -> Iterator[Pixels]:
    """Yield the frames of a video, uint8 (H, W, 3) RGB. See VideoReader for sources and errors."""
    with VideoReader(source) as reader:
        yield from reader


def read_timed_frames(source: str | Path) -> Iterator[TimedPixels]:
    """Yield the frames of a video with their times, as ``Segmenter.stream`` takes them. See ``VideoReader.timed``."""
    with VideoReader(source) as reader:
        yield from reader.timed()


class VideoWriter:
    """Writes an H.264 mp4 (yuv420p, plays everywhere). Use as a context manager.

    The file appears under its name when the writer is closed; an exception inside the ``with`` leaves nothing.
    Odd sizes grow by one row or column, a copy of the last.

    Args:
        path: the mp4 to write; an existing file is replaced.
        fps: frames per second.
        crf: constant rate factor of x264, 0 (lossless) to 51.

    Raises:
        ValueError: for a rate that is not positive or another file ending than .mp4.
        VideoError: where FFmpeg cannot encode H.264.
        ImportError: without PyAV.
    """

    def __init__(self, path: str | Path, fps: float, *, crf: int = 20) -> None:
        av = _pyav()
        self.path = Path(path)
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{self.path}: expected a name that ends in .mp4")
        if not fps > 0:
            raise ValueError(f"fps: expected a positive number, found {fps}")
        self._rate = Fraction(fps).limit_denominator(1001)
        self._crf = crf
        self._size: tuple[int, int] | None = None
        self._stream: Any = None
        self._temporary = self.path.with_name(f".{self.path.stem}.partial.mp4")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self._temporary), "w", options={"movflags": "+faststart"})

    def write(self, frame: Pixels) -> None:
        """Append a frame, uint8 (H, W, 3) RGB; all must have the first one's size."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"frame: expected (H, W, 3) uint8, found {frame.shape} {frame.dtype}")
        height, width = frame.shape[:2]
        if self._stream is None:
            self._open_stream(height, width)
        if (height, width) != self._size:
            raise ValueError(f"frame: expected the first frame's size {self._size}, found {(height, width)}")
        padded = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        video_frame = _pyav().VideoFrame.from_ndarray(padded, format="rgb24")
        self._container.mux(self._stream.encode(video_frame))

    def _open_stream(self, height: int, width: int) -> None:
        av = _pyav()
        try:
            stream = self._container.add_stream("libx264", rate=self._rate, options={"crf": str(self._crf)})
        except (av.error.FFmpegError, ValueError) as error:
            raise VideoError(f"this PyAV cannot encode H.264 ({error}); run: python -m pip install av") from error
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        self._stream, self._size = stream, (height, width)

    def close(self) -> None:
        """Finish the file and give it its name; without a frame, nothing is written."""
        if self._stream is None:
            self.discard()
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except BaseException:
            self.discard()
            raise
        self._temporary.replace(self.path)

    def discard(self) -> None:
        """Drop what was written."""
        try:
            self._container.close()
        except _pyav().error.FFmpegError as error:
            logger.debug("closing %s: %s", self._temporary, error)
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        """Return the writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Finish the file, or drop it after an exception."""
        if kind is None:
            self.close()
        else:
            self.discard()
