"""One stream of the soak test: it does whatever may be done with a Segmenter, and checks what comes back."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from soak_frames import SIZES, Shot, all_kinds, next_shot

import stpl_rt

STRETCH = 60
"""Frames after which a stretch ends at the latest: what is played again must be kept until then."""
SAMPLED = 0.3
"""Share of the stretches that are played again."""
HELD = 24
"""Results held at a time, at most."""

GOOD = np.zeros((4, 4, 3), np.uint8)
REFUSED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "element type": ({"frame": GOOD.astype(np.float32)}, TypeError),
    "channels": ({"frame": np.zeros((4, 4, 4), np.uint8)}, stpl_rt.Error),
    "empty": ({"frame": np.zeros((0, 4, 3), np.uint8)}, stpl_rt.Error),
    "too wide": ({"frame": np.broadcast_to(np.uint8(1), (4, 1 << 33, 3))}, stpl_rt.Error),
    "no array": ({"frame": "picture"}, TypeError),
    "format": ({"frame": GOOD, "format": "yuyv"}, stpl_rt.Error),
    "odd planes": ({"frame": np.zeros((5, 4), np.uint8), "format": "i420"}, stpl_rt.Error),
    "flow of NaN": ({"frame": GOOD, "flow": np.full((3, 3, 2), np.nan, np.float32)}, stpl_rt.Error),
    "flow too long": ({"frame": GOOD, "flow": np.full((3, 3, 2), 1e6, np.float32)}, stpl_rt.Error),
    "flow's shape": ({"frame": GOOD, "flow": np.zeros((3, 3), np.float32)}, stpl_rt.Error),
    "timestamp": ({"frame": GOOD, "timestamp": float("nan")}, stpl_rt.Error),
}


class WrongError(AssertionError):
    """What the runtime did and must not do."""


class Said(NamedTuple):
    """A result without its index and timing."""

    digest: str
    shape: tuple[int, ...]
    is_key: bool
    key_reason: str
    age: int
    drift: float


def digest(result: stpl_rt.Result) -> str:
    sha = hashlib.sha1(result.labels.tobytes(), usedforsecurity=False)
    if result.confidence is not None:
        sha.update(result.confidence.tobytes())
    return sha.hexdigest()


def said(result: stpl_rt.Result) -> Said:
    return Said(
        digest(result), result.labels.shape, result.is_key, result.key_reason, result.age, round(result.drift, 12)
    )


def check(condition: bool, what: str) -> None:
    if not condition:
        raise WrongError(what)


@dataclass(order=True)
class Held:
    """A result that somebody keeps until `until`, and what it said when it came."""

    until: int
    number: int
    result: stpl_rt.Result = field(compare=False)
    digest: str = field(compare=False)


class SoakStream:
    """A stream and its journal.

    Args:
        bundle: shared with the other streams.
        options: of the Segmenter.
        counts: what was done, added to.
    """

    def __init__(self, bundle: stpl_rt.Bundle, options: dict[str, Any], seed: int, counts: Counter[str]) -> None:
        self._bundle, self._options, self._counts = bundle, options, counts
        self._random = np.random.default_rng(seed)
        self._shot = Shot(SIZES[0], 0)
        self._held: list[Held] = []
        self._numbers = count()
        self._tick = 0
        self._make()

    def act(self) -> None:
        """One thing that users, cameras and their faults do."""
        self._tick += 1
        self._release(until=self._tick)
        action = self._random.random()
        if action < 0.05:
            self._be_refused()
        elif action < 0.06:
            self._finish_stretch()
            self._segmenter.reset()
            self._counts["resets"] += 1
        elif action < 0.061:
            self._finish_stretch()
            self._make()
        elif self._segmenter.pending and action < 0.35:
            self._collect()
        else:
            self._take()
        if len(self._stretch) >= STRETCH:
            self._finish_stretch()
            self._segmenter.reset()

    def quiet(self) -> None:
        """Nothing under way, nothing held: what is in memory now is what the stream itself needs."""
        while self._segmenter.pending:
            self._collect()
        self._release(until=None)

    # --- what is done ---

    def _make(self) -> None:
        self._segmenter = stpl_rt.Segmenter(self._bundle, **self._options)
        self._begin_stretch()
        self._index = 0  # of the next result
        self._warm_up()
        self._segmenter.reset()
        self._counts["segmenters made"] += 1

    def _warm_up(self) -> None:
        """Its thread begins, and its buffers get as large and as many as they will: results' memory is used again."""
        kinds = all_kinds()
        largest = kinds[-1].arguments()
        for shot in kinds:
            self._segmenter.push(**shot.arguments())
        held = [self._segmenter.push(**largest) for _ in range(HELD + 1)]
        for _ in range(self._segmenter.queue):
            self._segmenter.submit(**largest)
        while self._segmenter.pending:
            held.append(self._segmenter.collect())
        self._index += len(kinds) + len(held)

    def _take(self) -> None:
        """The next frame, by push or through the queue, which is filled to the brim now and then."""
        self._shot = next_shot(self._shot, self._random)
        if self._segmenter.pending == self._segmenter.queue:
            self._collect()
        self._stretch.append(self._shot)
        self._waiting.append(self._shot)
        if self._segmenter.pending or self._random.random() < 0.5:
            self._segmenter.submit(**self._shot.arguments())
            self._counts["submitted"] += 1
        else:
            self._answered(self._segmenter.push(**self._shot.arguments()))
            self._counts["pushed"] += 1

    def _collect(self) -> None:
        self._answered(self._segmenter.collect())

    def _be_refused(self) -> None:
        name = list(REFUSED)[self._random.integers(len(REFUSED))]
        arguments, error = REFUSED[name]
        call = self._segmenter.submit if self._segmenter.pending else self._segmenter.push
        try:
            call(**arguments)
        except error:
            self._counts[f"refused: {name}"] += 1
        else:
            raise WrongError(f"{name}: expected {error.__name__}, was accepted")

    # --- what is checked ---

    def _answered(self, result: stpl_rt.Result) -> None:
        """Results come in the order of the frames, each of its frame's size."""
        shot = self._waiting.popleft()
        check(result.frame_index == self._index, f"expected result {self._index}, found {result.frame_index}")
        self._index += 1
        check(result.labels.shape == shot.labels_shape(), f"labels of {result.labels.shape} for {shot}")
        check(int(result.labels.max()) < len(self._bundle.classes), "a label that is no class")
        answer = said(result)
        self._answers.append(answer)
        self._counts["frames"] += 1
        self._counts[f"key: {result.key_reason}"] += 1
        if len(self._held) < HELD and self._random.random() < 0.3:
            until = self._tick + int(self._random.integers(1, 400))
            heapq.heappush(self._held, Held(until, next(self._numbers), result, answer.digest))

    def _release(self, until: int | None) -> None:
        """Lets results go whose time has come; nobody has written to them."""
        while self._held and (until is None or self._held[0].until <= until):
            held = heapq.heappop(self._held)
            check(digest(held.result) == held.digest, "a result changed while it was held")
            self._counts["held results"] += 1

    def _begin_stretch(self) -> None:
        self._stretch: list[Shot] = []
        self._waiting: deque[Shot] = deque()
        self._answers: list[Said] = []

    def _finish_stretch(self) -> None:
        """What came since the last reset is what a new Segmenter, alone, says of the same frames."""
        while self._segmenter.pending:
            self._collect()
        if self._stretch and self._random.random() < SAMPLED:
            fresh = stpl_rt.Segmenter(self._bundle, **self._options)
            for number, (shot, answer) in enumerate(zip(self._stretch, self._answers, strict=True)):
                again = said(fresh.push(**shot.arguments()))
                check(again == answer, f"frame {number} of a stretch: first {answer}, played again {again}; {shot}")
            self._counts["stretches played again"] += 1
            self._counts["frames played again"] += len(self._stretch)
        self._begin_stretch()
