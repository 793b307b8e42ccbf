"""What a stream says follows from its frames alone: not from the queue, other streams, or what was refused between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_high
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stpl_rt

Pixels = npt.NDArray[np.uint8]

SIZES = [(192, 320), (192, 320), (96, 160), (41, 67)]  # the usual one more often
SCHEDULES = ["every", "fixed:1", "fixed:2", "fixed:3", "fixed:5", "adaptive", "adaptive:0.05:4", "adaptive:0:9"]


def picture(height: int, width: int, moment: int, scene: int) -> Pixels:
    """Of a smooth scene that moves by 2 pixels right and 1 down a moment."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x - 2 * moment + 300 * scene, y - moment
    texture = 24 * np.sin(0.31 * u + 0.12 * v) + 24 * np.sin(0.29 * v - 0.17 * u + scene)
    blobs = [60 * np.sin(0.071 * u + 2.1 * c) * np.cos(0.093 * v + 1.3 * c) for c in range(3)]
    return np.stack([124 + blob + texture for blob in blobs], axis=-1).clip(0, 255).astype(np.uint8)


PICTURES = {
    (size, scene): [picture(*size, moment, scene) for moment in range(12)] for size in set(SIZES) for scene in (0, 1)
}


@dataclass(frozen=True)
class Shot:
    """A frame to be pushed; `reset`: before it."""

    size: tuple[int, int] = SIZES[0]
    moment: int = 0
    scene: int = 0
    timestamp: float | None = None
    flow: bool = False
    reset: bool = False

    def arguments(self) -> tuple[Pixels, npt.NDArray[np.float32] | None]:
        flow = np.full((24, 40, 2), -0.25, np.float32) if self.flow else None
        return PICTURES[self.size, self.scene][self.moment % 12], flow


@st.composite
def shots(draw: st.DrawFn, most: int = 12) -> list[Shot]:
    """A video that may jump, be cut, change its size, bring its own flow, and be begun anew."""
    video = []
    shot = Shot(size=draw(st.sampled_from(SIZES)))
    for _ in range(draw(st.integers(1, most))):
        moment = shot.moment + draw(st.sampled_from([1, 1, 1, 0, 3]))
        shot = Shot(
            shot.size, moment, shot.scene, flow=draw(st.integers(0, 5)) == 0, reset=draw(st.integers(0, 9)) == 0
        )
        match draw(st.integers(0, 11)):
            case 0:
                shot = replace(shot, size=draw(st.sampled_from(SIZES)))
            case 1:
                shot = replace(shot, scene=1 - shot.scene)
        video.append(shot)
    return video


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    schedule = draw(st.sampled_from(SCHEDULES))
    longest = {"every": 1, "adaptive": 30}.get(schedule) or int(schedule.rsplit(":", 1)[1])
    return {
        "schedule": schedule,
        "key_lag": draw(st.integers(0, min(longest - 1, 4))),
        "scene_cuts": draw(st.booleans()),
        "flow_check": draw(st.booleans()),
        "threads": 2,
        "confidence": True,
    }


class Said(NamedTuple):
    """All of a result but its timing."""

    labels: bytes
    confidence: bytes
    shape: tuple[int, ...]
    is_key: bool
    key_reason: str
    age: int
    drift: float
    frame_index: int


def said(result: stpl_rt.Result) -> Said:
    assert result.confidence is not None
    return Said(
        result.labels.tobytes(),
        result.confidence.tobytes(),
        result.labels.shape,
        result.is_key,
        result.key_reason,
        result.age,
        result.drift,
        result.frame_index,
    )


def alone(bundle: stpl_rt.Bundle, video: list[Shot], settings: dict[str, Any]) -> list[Said]:
    """Each frame pushed after the one before, nothing else going on."""
    segmenter = stpl_rt.Segmenter(bundle, **settings)
    results = []
    for shot in video:
        if shot.reset:
            segmenter.reset()
        results.append(said(segmenter.push(*shot.arguments(), timestamp=shot.timestamp)))
    return results


@pytest.fixture(scope="module")
def bundle(coarse_bundle: Path) -> Iterator[stpl_rt.Bundle]:
    """Its network stays compiled."""
    opened = stpl_rt.Bundle.open(coarse_bundle)
    keeper = stpl_rt.Segmenter(opened, threads=2)
    yield opened
    del keeper


@given(st.data())
def test_a_stream_says_the_same_alone_beside_others_and_through_any_queue(bundle: stpl_rt.Bundle, data: Any) -> None:
    settings = [data.draw(options()) for _ in range(data.draw(st.integers(1, 3)))]
    videos = [data.draw(shots()) for _ in settings]
    expected = [alone(bundle, video, each) for video, each in zip(videos, settings, strict=True)]
    streams = [stpl_rt.Segmenter(bundle, queue=data.draw(st.integers(1, 4)), **each) for each in settings]
    found: list[list[Said]] = [[] for _ in streams]
    submitted = [0] * len(streams)

    def collect_all(index: int) -> None:
        while streams[index].pending:
            found[index].append(said(streams[index].collect()))

    choices = np.random.default_rng(data.draw(st.integers(0, 9999)))
    while any(done < len(video) for done, video in zip(submitted, videos, strict=True)):
        index = int(choices.integers(len(streams)))
        stream = streams[index]
        if submitted[index] == len(videos[index]) or stream.pending == stream.queue or choices.random() < 0.2:
            if stream.pending:
                found[index].append(said(stream.collect()))
            continue
        shot = videos[index][submitted[index]]
        if shot.reset:
            collect_all(index)
            stream.reset()
        if stream.pending == 0 and choices.random() < 0.3:
            found[index].append(said(stream.push(*shot.arguments())))
        else:
            stream.submit(*shot.arguments())
        submitted[index] += 1
    for index in range(len(streams)):
        collect_all(index)
        assert found[index] == expected[index]


@given(video=shots(), settings=options(), queue=st.integers(2, 5), data=st.data())
def test_a_python_stream_says_what_push_says(
    bundle: stpl_rt.Bundle, video: list[Shot], settings: dict[str, Any], queue: int, data: Any
) -> None:
    video = [replace(shot, reset=False, flow=False) for shot in video]
    segmenter = stpl_rt.Segmenter(bundle, queue=queue, **settings)
    frames = (shot.arguments()[0] for shot in video)
    results = segmenter.stream(frames, ahead=data.draw(st.integers(0, queue - 1)))
    assert [said(result) for result in results] == alone(bundle, video, settings)


@given(first=shots(6), second=shots(6), settings=options(), data=st.data())
def test_after_a_reset_a_stream_is_a_new_one(
    bundle: stpl_rt.Bundle, first: list[Shot], second: list[Shot], settings: dict[str, Any], data: Any
) -> None:
    """Its clock too: how far frames used to be apart is part of what is forgotten."""
    steps = [data.draw(st.sampled_from([0.01, 0.04, 0.11])) for _ in range(2)]
    first, second = (
        [replace(shot, timestamp=step * t) for t, shot in enumerate(video)]
        for video, step in zip((first, second), steps, strict=True)
    )
    begun_anew = [*first, replace(second[0], reset=True), *second[1:]]
    found = alone(bundle, begun_anew, settings)[len(first) :]
    expected = alone(bundle, second, settings)
    assert [result._replace(frame_index=i) for i, result in enumerate(found)] == expected


REFUSALS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"frame": np.zeros((4, 4, 3), np.float32)}, TypeError),
    ({"frame": np.zeros((4, 4, 4), np.uint8)}, stpl_rt.Error),
    ({"frame": np.zeros((1, 16385), np.uint8)}, stpl_rt.Error),
    ({"frame": np.zeros((5, 4), np.uint8), "format": "nv12"}, stpl_rt.Error),
    ({"frame": np.zeros((4, 4, 3), np.uint8), "format": "yuyv"}, stpl_rt.Error),
    ({"frame": PICTURES[SIZES[0], 1][3], "flow": np.full((4, 4, 2), np.nan, np.float32)}, stpl_rt.Error),
    ({"frame": PICTURES[SIZES[0], 1][3], "flow": np.full((4, 4, 2), 1e9, np.float32)}, stpl_rt.Error),
    ({"frame": PICTURES[SIZES[0], 1][3], "flow": np.zeros((4, 4), np.float32)}, stpl_rt.Error),
    ({"frame": PICTURES[SIZES[0], 1][3], "timestamp": float("nan")}, stpl_rt.Error),
    ({"frame": PICTURES[SIZES[0], 1][3], "timestamp": float("inf")}, stpl_rt.Error),
]


@given(video=shots(8), settings=options(), queued=st.booleans(), seed=st.integers(0, 9999))
def test_what_is_refused_changes_nothing(
    bundle: stpl_rt.Bundle, video: list[Shot], settings: dict[str, Any], queued: bool, seed: int
) -> None:
    expected = alone(bundle, video, settings)
    segmenter = stpl_rt.Segmenter(bundle, **settings)
    choices = np.random.default_rng(seed)
    for shot, result in zip(video, expected, strict=True):
        while choices.random() < 0.5:
            arguments, error = REFUSALS[choices.integers(len(REFUSALS))]
            with pytest.raises(error):
                (segmenter.submit if queued else segmenter.push)(**arguments)
        if shot.reset:
            segmenter.reset()
        assert said(segmenter.push(*shot.arguments())) == result


# --- which frames are key frames ---


class Planned(NamedTuple):
    key_reason: str
    age: int


class Plan:
    """What docs/runtime.md says of key frames, for schedules fixed:K (without scene cuts)."""

    def __init__(self, interval: int, key_lag: int) -> None:
        self._interval = interval
        self._lag = key_lag
        self._shown = 0  # frames since the key frame that is shown
        self._since = 0  # frames since the network was last started
        self._pending: int | None = None  # frames since the one whose network runs in the background
        self._size: tuple[int, int] | None = None
        self._last: float | None = None
        self._waits: list[float] = []  # between frames, seconds; the last nine

    def reset(self) -> None:
        self._size, self._last, self._waits = None, None, []

    def next(self, shot: Shot) -> Planned:
        reason = "none"
        if self._size is None:
            reason = "first"
        elif shot.size != self._size:
            reason = "size_change"
        elif self._interval > 1 and self._is_gap(shot.timestamp):
            reason = "gap"
        elif self._lag == 0 and self._since + 1 >= self._interval:
            reason = "schedule"
        self._size = shot.size
        self._learn(shot.timestamp)
        if reason != "none":
            self._shown, self._since, self._pending = 0, 0, None
            return Planned(reason, 0)
        return self._propagate()

    def _propagate(self) -> Planned:
        self._shown += 1
        self._since += 1
        if self._pending is not None:
            self._pending += 1
            if self._pending == self._lag:
                self._shown, self._pending = self._pending, None
        if self._pending is None and self._since >= self._interval:
            self._pending, self._since = 0, 0
            return Planned("schedule", self._shown)
        return Planned("none", self._shown)

    def _is_gap(self, timestamp: float | None) -> bool:
        if timestamp is None or self._last is None:
            return False
        passed = timestamp - self._last
        return passed < 0 or (len(self._waits) > 0 and passed > 2.5 * median_high(self._waits))

    def _learn(self, timestamp: float | None) -> None:
        if timestamp is not None and self._last is not None and timestamp > self._last:
            self._waits = [*self._waits[-8:], timestamp - self._last]
        self._last = timestamp


@st.composite
def timed(draw: st.DrawFn, most: int) -> list[Shot]:
    """Shots with clocks that jitter, miss frames, stop, go back, or say nothing."""
    time = draw(st.floats(-1e6, 1e6))
    video = []
    for shot in draw(shots(most)):
        time += draw(st.sampled_from([0.04, 0.04, 0.04, 0.041, 0.039, 0.08, 0.2, 1e-7, 0.0, -1.0, 1e9]))
        video.append(replace(shot, scene=0, timestamp=draw(st.sampled_from([time, time, time, None]))))
    return video


@given(video=timed(24), interval=st.integers(1, 7), data=st.data())
def test_key_frames_come_as_planned(bundle: stpl_rt.Bundle, video: list[Shot], interval: int, data: Any) -> None:
    lag = data.draw(st.integers(0, interval - 1))
    segmenter = stpl_rt.Segmenter(bundle, schedule=f"fixed:{interval}", key_lag=lag, scene_cuts=False, threads=2)
    plan = Plan(interval, lag)
    for index, shot in enumerate(video):
        if shot.reset:
            segmenter.reset()
            plan.reset()
        result = segmenter.push(*shot.arguments(), timestamp=shot.timestamp)
        assert (result.key_reason, result.age) == plan.next(shot)
        assert result.is_key == (result.key_reason != "none")
        assert result.frame_index == index
        assert result.age <= interval - 1 + lag


@given(video=shots(20), drift=st.sampled_from([0.0, 0.02, 0.1, 0.4]), longest=st.integers(2, 6), data=st.data())
def test_adaptive_schedules_keep_their_bounds(
    bundle: stpl_rt.Bundle, video: list[Shot], drift: float, longest: int, data: Any
) -> None:
    lag = data.draw(st.integers(0, longest - 1))
    segmenter = stpl_rt.Segmenter(bundle, schedule=f"adaptive:{drift}:{longest}", key_lag=lag, threads=2)
    before: stpl_rt.Result | None = None
    since = 0
    for shot in video:
        if shot.reset:
            segmenter.reset()
        result = segmenter.push(*shot.arguments())
        since = 0 if result.is_key else since + 1
        assert since < longest + lag
        assert result.age < longest + lag
        if result.key_reason == "drift":
            assert result.drift > drift
        elif result.key_reason == "none" and lag == 0:
            assert 0 <= result.drift <= drift
            assert before is not None and result.age == before.age + 1
            assert before.is_key or result.drift >= before.drift
        if lag == 0:
            assert (result.age == 0) == result.is_key
        before = result


@given(video=shots(10), settings=options())
def test_a_key_frame_that_is_waited_for_says_what_the_network_says(
    bundle: stpl_rt.Bundle, video: list[Shot], settings: dict[str, Any]
) -> None:
    """Whatever came before: a frame of age 0 is labelled as one alone."""
    framewise = stpl_rt.Segmenter(bundle, schedule="every", threads=1, confidence=True)
    for shot, result in zip(video, alone(bundle, video, settings), strict=True):
        if result.age == 0:
            expected = framewise.push(*shot.arguments())
            assert expected.confidence is not None
            assert (result.labels, result.confidence) == (expected.labels.tobytes(), expected.confidence.tobytes())
