"""Frames of the steps to come are read in order, each once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import stpl_rt
from stpl.data.batches import PreparedVideo
from stpl.data.dataset import FrameId, Image, LabelMap, VideoDataset
from stpl.data.specs import open_dataset
from stpl.data.sweep import Sweep
from stpl.errors import UserError

SPEC = stpl_rt.InputSpec(width=32, height=16, mean=[0, 0, 0], std=[1, 1, 1])
MEGABYTE = 2**20
FRAME_BYTES = 16 * 32 * (3 * 4 + 1 + 2 * 4)


class Watched(VideoDataset):
    """A grey video that remembers which frames were asked for."""

    def __init__(self, count: int, damaged: int | None = None) -> None:
        self.name, self.classes, self.sequences = "watched", None, ["a"]
        self.asked: list[int] = []
        self.damaged = damaged
        self._count = count

    def __len__(self) -> int:
        return self._count

    def frame_id(self, index: int) -> FrameId:
        return FrameId("a", str(index), index)

    def frame(self, index: int) -> Image:
        if index == self.damaged:
            raise UserError(f"cannot decode frame {index}")
        self.asked.append(index)
        return np.full((16, 32, 3), index % 256, np.uint8)

    def label(self, index: int) -> LabelMap | None:
        return None

    def labelled(self) -> list[int]:
        return []


def wanted(step: int) -> list[int]:
    """Eight frames from all over the video."""
    return [int(i) for i in np.random.default_rng(step).permutation(400)[:8]]


def test_a_stretch_is_read_in_order_and_each_frame_once() -> None:
    data = Watched(400)
    video = PreparedVideo(data, SPEC, cache_megabytes=1)
    with Sweep(video, wanted, range(12)) as sweep:
        assert sweep.stretch == MEGABYTE // FRAME_BYTES // (4 * 8) == 3
        for step in range(12):
            sweep.wait_for(step)
            for index in wanted(step):
                video.image(index), video.luma(index)
    expected = [sorted({i for step in range(first, first + 3) for i in wanted(step)}) for first in range(0, 12, 3)]
    assert data.asked == list(dict.fromkeys(index for stretch in expected for index in stretch))


def test_the_next_stretch_is_read_ahead() -> None:
    data = Watched(400)
    with Sweep(PreparedVideo(data, SPEC, cache_megabytes=1), wanted, range(6)) as sweep:
        sweep.wait_for(0)
        sweep.wait_for(1)
        second = {index for step in range(3, 6) for index in wanted(step)}
        for _ in range(200):
            if second <= set(data.asked):
                break
            threading.Event().wait(0.01)
        assert second <= set(data.asked)


def test_a_resumed_run_begins_where_it_stopped() -> None:
    data = Watched(400)
    with Sweep(PreparedVideo(data, SPEC), wanted, range(7, 9)) as sweep:
        sweep.wait_for(7)
    assert data.asked == sorted({index for step in (7, 8) for index in wanted(step)})


def test_what_cannot_be_read_is_an_error_of_the_step() -> None:
    data = Watched(400, damaged=wanted(0)[0])
    sweep = Sweep(PreparedVideo(data, SPEC), wanted, range(2))
    with sweep, pytest.raises(UserError, match="cannot decode"):
        sweep.wait_for(0)


def test_videos_with_rare_key_frames_want_to_be_read_in_order(write_video) -> None:
    rare = write_video("rare.mp4", 40, options={"g": "40"})
    often = write_video("often.mp4", 40, options={"g": "2"})
    assert open_dataset(str(rare)).in_order and not open_dataset(str(often)).in_order
    assert not open_dataset("synthstreet:?domain=day&sequences=1&frames=4&size=48x64").in_order
