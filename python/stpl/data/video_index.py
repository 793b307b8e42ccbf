"""Which frames a video has, and from which keyframe each is decoded."""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stpl.data.video_decoder import Decoder, open_video, packets
from stpl.errors import UserError

if TYPE_CHECKING:
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoIndex:
    """The frames of a video in order of display.

    Attributes:
        count: Number of frames.
        times: Their times in the stream's time base, ascending; None where the file has none that can be used, and
            frames are found by counting from the start.
        keys: Numbers of the frames at which decoding can start, ascending; the first is 0.
        damaged: Whether more frames than these were announced or begun.
    """

    count: int
    times: tuple[int, ...] | None
    keys: tuple[int, ...]
    damaged: bool = False

    def key_before(self, number: int) -> int:
        """The last keyframe at or before a frame."""
        return self.keys[bisect_left(self.keys, number + 1) - 1]

    def number_at(self, time: int | None) -> int | None:
        """The frame of that time; None where no frame has it."""
        if self.times is None or time is None:
            return None
        number = bisect_left(self.times, time)
        return number if number < len(self.times) and self.times[number] == time else None

    def cut(self, count: int) -> VideoIndex:
        """The first `count` frames only."""
        times = self.times[:count] if self.times is not None else None
        return VideoIndex(count, times, tuple(key for key in self.keys if key < count))


def build_index(path: Path) -> VideoIndex:
    """Reads the file once without decoding it, then decodes its last part to see whether the end is intact.

    Files whose packets carry no usable times are decoded whole. A damaged end is left out, with a warning.
    Raises UserError where no frame can be decoded.
    """
    index, damaged = _index_by_packets(path)
    if index is not None:
        decoder = Decoder(path)
        last = len(index.keys) - 1
        intact = _intact_frames(decoder, index, last)
        if intact < index.count and (damaged or decoder.damaged):
            index, damaged = index.cut(_end_of_intact(decoder, index)), True
        elif intact < index.count:  # packets and frames do not correspond (fields, for one)
            index = None
        decoder.close()
    if index is None:
        index, damaged = _index_by_decoding(path)
    if index.count == 0:
        raise UserError(f"cannot use video {path}: expected a complete video file, found no frame that can be decoded")
    if damaged:
        logger.warning("%s is damaged or cut off: its first %d frames are used", path, index.count)
    return replace(index, damaged=damaged)


def _index_by_packets(path: Path) -> tuple[VideoIndex | None, bool]:
    """The index and whether the file's end is damaged; no index where packets lack times or share them."""
    container, stream = open_video(path)
    times: list[int] = []
    key_times: list[int] = []
    last_decoding_time: int | None = None
    damaged = False
    end = found = 0
    for packet in packets(container, stream):
        if packet is None:
            damaged = True
            break
        if packet.size == 0:
            continue
        end = max(end, (packet.pts or 0) + (packet.duration or 0))
        found += 1
        if packet.is_discard:
            continue
        if packet.pts is None:
            times = []
            break
        times.append(packet.pts)
        last_decoding_time = packet.dts
        if packet.is_keyframe:
            key_times.append(packet.pts)
    if not damaged and times and _is_short(stream, found, float(end * (stream.time_base or 0))):
        damaged = True
        times.pop()  # there may be only a part of it
    container.close()
    if damaged and last_decoding_time is not None:
        # Packets lie in order of decoding. Of what is shown after the last one's turn, some may be missing.
        times = [time for time in times if time <= last_decoding_time]
    times.sort()
    key_times = sorted(time for time in key_times if times and time <= times[-1])
    if not times or len(set(times)) < len(times) or not key_times or key_times[0] != times[0]:
        return None, damaged
    keys = tuple(bisect_left(times, time) for time in key_times)
    return VideoIndex(len(times), tuple(times), keys), damaged


def _is_short(stream: VideoStream, packets_found: int, end: float) -> bool:
    """Whether the file's head announces more than there is: being cut off between two packets shows in nothing else."""
    if stream.frames > 0:
        return packets_found < stream.frames
    announced = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))  # Matroska
    if announced is None:
        return False
    hours, minutes, seconds = (float(part) for part in announced.groups())
    return end < 3600 * hours + 60 * minutes + seconds - 0.5


def _index_by_decoding(path: Path) -> tuple[VideoIndex, bool]:
    decoder = Decoder(path)
    times: list[int | None] = []
    while (frame := decoder.next()) is not None:
        times.append(frame.pts)
    decoder.close()
    # Only the start is a safe place to decode from: such files seek unreliably.
    return VideoIndex(len(times), None, (0,)), decoder.damaged


def _intact_frames(decoder: Decoder, index: VideoIndex, group: int) -> int:
    """Decodes from a keyframe to the next one; returns the number of the first frame that does not come out."""
    start = index.keys[group]
    end = index.keys[group + 1] if group + 1 < len(index.keys) else index.count
    assert index.times is not None
    decoder.seek(index.times[start] if start > 0 else None)
    expected = start
    while expected < end and (frame := decoder.next()) is not None:
        number = index.number_at(frame.pts)
        if number is None or number < expected:
            continue  # before the keyframe
        if number > expected:
            break
        expected += 1
    return expected


def _end_of_intact(decoder: Decoder, index: VideoIndex) -> int:
    """Number of frames before the damage, found by bisection: from the damage on, nothing is taken to be intact."""
    good, bad = -1, len(index.keys) - 1  # groups of frames known to be intact, known not to be
    while bad - good > 1:
        middle = (good + bad) // 2
        if _intact_frames(decoder, index, middle) == index.keys[middle + 1]:
            good = middle
        else:
            bad = middle
    return _intact_frames(decoder, index, bad)
