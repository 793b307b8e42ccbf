"""Segments a camera, a stream or a video file while it runs, and draws the classes over it.

python webcam.py street.bundle camera:0                                   in a window (needs opencv-python); q ends it
python webcam.py street.bundle rtsp://192.168.1.20/live --out drive.mp4   into a file; Ctrl-C ends it
python webcam.py street.bundle drive.mp4 --schedule fixed:5 --limit 300
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import stpl_rt
from stpl_rt.video import VideoError, VideoReader, VideoWriter


class Window:
    """Shows frames through OpenCV."""

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError:
            sys.exit("a window needs OpenCV (python -m pip install opencv-python); --out FILE.mp4 does without")
        self._cv2: Any = cv2

    def write(self, picture: Any) -> None:
        """Shows one RGB picture. Raises KeyboardInterrupt when q is pressed."""
        self._cv2.imshow("stpl", picture[..., ::-1])
        if self._cv2.waitKey(1) == ord("q"):
            raise KeyboardInterrupt


def keep(timed: Iterable[Any], kept: deque[Any], limit: int | None) -> Iterator[Any]:
    """Passes frames on and keeps each until its result comes: results arrive in the frames' order, a little later.

    By the frames' times, of the camera's own clock, the Segmenter notices where some are missing.
    """
    for count, (frame, time_of_frame) in enumerate(timed, start=1):
        kept.append(frame)
        yield frame, time_of_frame
        if count == limit:
            return


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="what stpl-adapt export has written")
    parser.add_argument("source", help="camera:N, an address that FFmpeg opens (rtsp://...), or a video file")
    parser.add_argument("--out", type=Path, metavar="FILE.mp4", help="write the picture there instead of a window")
    parser.add_argument("--schedule", help="every, fixed:K or adaptive; the bundle's own where absent")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: all cores")
    parser.add_argument("--limit", type=int, metavar="N", help="stop after N frames")
    arguments = parser.parse_args()

    segmenter = stpl_rt.Segmenter(arguments.bundle, schedule=arguments.schedule, threads=arguments.threads)
    colors = [info.color for info in segmenter.bundle.classes]
    kept: deque[Any] = deque()
    count = keys = 0
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(arguments.source))
        fps = reader.fps or 25
        out = stack.enter_context(VideoWriter(arguments.out, fps)) if arguments.out else Window()
        begun = time.perf_counter()
        try:
            for result in segmenter.stream(keep(reader.timed(), kept, arguments.limit)):
                out.write(stpl_rt.overlay(kept.popleft(), result.labels, colors))
                count += 1
                keys += result.is_key
        except KeyboardInterrupt:
            pass  # what was written up to here is kept
        seconds = time.perf_counter() - begun
    print(f"{count} frames, {keys} key frames, {count / seconds:.1f} frames/s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (stpl_rt.Error, VideoError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
