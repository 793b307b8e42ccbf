"""Frames of the next steps, read in the order of the video.

A video file whose key frames are rare gives one frame at random for the price of a hundred. Which frames a training
asks for is known beforehand: those of a stretch of steps are read in one pass over the file, while the steps before
are computed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from stpl.data.batches import PreparedVideo


class Sweep:
    """Reads the frames of stretches of steps into a video's cache, one stretch ahead. A context manager.

    Args:
        video: whose cache takes them.
        wanted: the indices of the frames of one step; called from a thread.
        steps: all that will be asked for, in order.
    """

    STRETCHES = 4
    """That would fit into the cache: one in use, one being read, and what steps besides still hold."""

    def __init__(self, video: PreparedVideo, wanted: Callable[[int], Iterable[int]], steps: range) -> None:
        self._video = video
        self._wanted = wanted
        self._steps = steps
        frames = len(set(wanted(steps.start))) if steps else 1
        self.stretch = max(1, video.room // (self.STRETCHES * max(1, frames)))
        """Steps whose frames are read together."""
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sweep")
        self._lock = threading.Lock()
        self._read: dict[int, Future[None]] = {}
        self._ended = threading.Event()

    def __enter__(self) -> Sweep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def wait_for(self, step: int) -> None:
        """Returns once the frames of the step have been read. Raises what reading them raised."""
        number = (step - self._steps.start) // self.stretch
        with self._lock:
            for following in (number, number + 1):
                if following not in self._read:
                    self._read[following] = self._executor.submit(self._sweep, following)
            ready = self._read[number]
        ready.result()

    def _sweep(self, number: int) -> None:
        first = self._steps.start + number * self.stretch
        steps = range(first, min(first + self.stretch, self._steps.stop))
        for index in sorted({index for step in steps for index in self._wanted(step)}):
            if self._ended.is_set():
                return
            self._video.image(index)  # and its luma with it
