"""A stream of frames as a Python loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

from stpl_rt import _core


class Segmenter(_core.Segmenter):
    __doc__ = _core.Segmenter.__doc__

    def stream(
        self,
        frames: Iterable[Any],
        *,
        format: str = "rgb",  # noqa: A002 (push's name)
        encoding: str = "bt601",
        ahead: int | None = None,
    ) -> Iterator[_core.Result]:
        """Results of ``frames``, in their order, segmented in the background while the loop's body runs.

            for result in segmenter.stream(stpl_rt.video.read_timed_frames("drive.mp4")):
                show(result.labels)

        Args:
            frames: what :meth:`push` takes, each of them; or tuples of that and its timestamp, in seconds, or None
                where it is not known. Two missing frames or more, by their timestamps, are answered by a key frame.
            format, encoding: of the frames, as in :meth:`push`.
            ahead: frames taken from ``frames`` before the first result is waited for, less than ``queue``; 0: one
                after the other; None: 1, or 0 where ``queue`` is 1.

        Raises:
            stpl_rt.Error: what :meth:`push` would have raised, in the frame's place. The results of frames that were
                taken ahead are dropped then, as where the loop is left.
        """
        if ahead is None:
            ahead = min(1, self.queue - 1)
        if not 0 <= ahead < self.queue:
            raise ValueError(f"ahead: expected 0 to {self.queue - 1}, less than the Segmenter's queue; found {ahead}")
        try:
            for item in frames:
                frame, timestamp = item if _has_timestamp(item) else (item, None)
                self.submit(frame, format=format, encoding=encoding, timestamp=timestamp)
                if self.pending > ahead:
                    yield self.collect()
            while self.pending:
                yield self.collect()
        finally:
            self._drop_pending()

    def _drop_pending(self) -> None:
        """What a loop that was left early had submitted; the stream has gone on by those frames."""
        while self.pending:
            try:
                self.collect()
            except _core.Error as error:
                # A forked child, which the frames never reach, or a thread that collects them itself.
                if error.code in ("unsupported", "in_use"):
                    return


def _has_timestamp(item: object) -> bool:
    """Whether it is a frame and its timestamp, and not a frame's planes."""
    return isinstance(item, tuple) and len(item) == 2 and (item[1] is None or isinstance(item[1], Real))
