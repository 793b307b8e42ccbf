"""Batches made ahead by threads: in order, bounded, and what one thread would make."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import stpl_rt
from stpl.data.batches import PreparedVideo, prefetched
from stpl.data.flow import ComputeFlow
from stpl.data.specs import open_dataset
from stpl_rt.video import VideoWriter

SPEC = stpl_rt.InputSpec(64, 48, mean=[120, 110, 100], std=[58, 57, 56])
DUSK = "synthstreet:?domain=dusk&seed=2&sequences=2&frames=6&size=48x64"


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_come_in_order_and_few_are_made_ahead(workers: int) -> None:
    made: list[int] = []

    def make(step: int) -> int:
        time.sleep(0.003 * (step % 3))  # later ones may be ready first
        made.append(step)
        return step * step

    ahead = 0
    for step, value in prefetched(make, range(4, 16), workers):
        assert value == step * step
        time.sleep(0.01)
        ahead = max(ahead, max(made) - step)
    assert sorted(made) == list(range(4, 16))
    assert 1 <= ahead <= workers + 1


def test_several_batches_are_made_at_once() -> None:
    together = threading.Barrier(3)
    assert [value for _, value in prefetched(lambda _: together.wait(20) >= 0, range(3), workers=3)] == [True] * 3


def test_an_error_comes_with_its_own_batch_and_ends_the_threads() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise ValueError("broken frame")
        return step

    batches = prefetched(make, range(9), workers=2)
    assert [next(batches), next(batches)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="broken frame"):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_threads_are_set_to_the_gpu_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[tuple[str, torch.device]] = []
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: chosen.append((threading.current_thread().name, device))
    )
    second, together = torch.device("cuda", 1), threading.Barrier(2)
    assert len(list(prefetched(lambda _: together.wait(20), range(2), 2, second))) == 2
    assert sorted(chosen) == [("prefetch_0", second), ("prefetch_1", second)]
    assert len(list(prefetched(str, range(2), 2, torch.device("cpu")))) == 2
    assert len(list(prefetched(str, range(2)))) == 2
    assert len(chosen) == 2


@pytest.mark.parametrize("apart", [False, True])
def test_flow_between_frames_brought_together_by_chance_is_computed_where_it_is_told(apart: bool) -> None:
    def filled(number: float) -> ComputeFlow:
        return lambda present, past: np.full((*present.shape, 2), number, np.float32)

    video = PreparedVideo(open_dataset(DUSK), SPEC, flow=filled(1.0), flow_by_chance=filled(2.0) if apart else None)
    batch = video.pair_batch([1, 2, 8], past=[4, 1, 7])
    assert batch.flow[0].unique().tolist() == [2.0 if apart else 1.0]
    assert batch.flow[1:].unique().tolist() == [1.0]  # those before, and so kept


@pytest.mark.parametrize("kind", ["generated", "video"])
@pytest.mark.parametrize("megabytes", [0, 100])
def test_threads_make_what_one_would(kind: str, megabytes: int, tmp_path: Path) -> None:
    spec = DUSK if kind == "generated" else _videos(tmp_path)
    serial = PreparedVideo(open_dataset(spec), SPEC)
    indices = serial.pairs
    expected = [serial.pair_batch([index]) for index in indices]
    video = PreparedVideo(open_dataset(spec), SPEC, cache_megabytes=megabytes)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: video.pair_batch([index]), indices * 3))
    for batch, same in zip(found, expected * 3, strict=True):
        assert torch.equal(batch.present, same.present) and torch.equal(batch.past, same.past)
        assert torch.equal(batch.flow, same.flow)


def _videos(folder: Path) -> str:
    """More files than are kept open at once."""
    generated = open_dataset("synthstreet:?domain=dusk&seed=3&sequences=6&frames=4&size=48x64")
    for sequence in range(6):
        with VideoWriter(folder / f"{sequence}.mp4", fps=15) as writer:
            for frame in range(4):
                writer.write(generated.frame(4 * sequence + frame))
    return str(folder)
