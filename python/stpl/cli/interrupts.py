"""Ctrl-C in a loop whose rounds are whole or not there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class WholeRounds:
    """Answers Ctrl-C (SIGINT) between the rounds of a loop, so that all that a round writes ends at the same one.

    Within ``with rounds.one():`` Ctrl-C waits for the round's end, where KeyboardInterrupt is raised; a second one
    does not wait. Outside it Ctrl-C is answered at once: a camera that sends nothing can be left. A context manager;
    in any thread but the main one it changes nothing.
    """

    def __init__(self) -> None:
        self._in_hand = False
        self._asked = False
        self._before: Any = None
        """The handler in whose place ours is."""

    def __enter__(self) -> WholeRounds:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def one(self) -> Iterator[None]:
        """A round. Raises KeyboardInterrupt at its end where Ctrl-C was pressed meanwhile."""
        self._in_hand = True
        try:
            yield
        finally:
            self._in_hand = False
        if self._asked:
            raise KeyboardInterrupt

    def _answer(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked or not self._in_hand:
            raise KeyboardInterrupt
        self._asked = True
