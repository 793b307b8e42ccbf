"""One pass of decoding through a video file, started at a keyframe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av

from stpl.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# A file may be a playlist that names other files or addresses: only local files are followed.
_OPTIONS = {"protocol_whitelist": "file"}
_NOT_VIDEO = {"tty", "image2", "png_pipe", "jpeg_pipe"}  # FFmpeg "plays" text and pictures too


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """The opened file and its first video stream. Raises UserError for a missing file and for what is no video."""
    try:
        container = av.open(str(path.absolute()), options=_OPTIONS)
    except (av.FFmpegError, OSError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"cannot open video {path}: expected a complete video file, found: {reason}") from error
    if not container.streams.video or container.format.name in _NOT_VIDEO:
        found = container.format.name
        container.close()
        raise UserError(f"cannot open video {path}: expected a video, found no video stream (format {found})")
    return container, container.streams.video[0]


class Decoder:
    """Decodes forward from where it was last placed. `damaged` tells whether anything could not be decoded since.

    Frames come in order of display. Not for use by two threads at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container, self._stream = open_video(path)
        self._frames = self._decode()
        self.damaged = False

    def next(self) -> VideoFrame | None:
        """The next intact frame, or None at the end. Damaged frames are left out and set `damaged`."""
        return next(self._frames, None)

    def seek(self, time: int | None) -> None:
        """Continues with the keyframe at `time` (or one before it), in the stream's time base; None is the start."""
        self.damaged = False
        if time is None:  # not every format can seek to its start
            self._container.close()
            self._container, self._stream = open_video(self._path)
        else:
            try:
                self._container.seek(time, stream=self._stream)
            except av.FFmpegError:  # a format without seeking: the only way there is from the start
                self.seek(None)
                return
        self._frames = self._decode()

    def close(self) -> None:
        """Frees the file. The decoder is not usable afterwards."""
        self._container.close()

    def _decode(self) -> Iterator[VideoFrame]:
        for packet in packets(self._container, self._stream):
            if packet is None:
                self.damaged = True
                continue
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                self.damaged = True
                continue
            for frame in decoded:
                if frame.is_corrupt:
                    self.damaged = True
                else:
                    yield frame


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream] | None]:
    """The stream's packets, ending with the empty one that flushes the decoder; None stands for a damaged one."""
    source = container.demux(stream)
    while True:
        try:
            packet = next(source)
        except StopIteration:
            return
        except av.FFmpegError:  # the generator is dead after an error: nothing further can be read
            yield None
            return
        yield None if packet.is_corrupt else packet
