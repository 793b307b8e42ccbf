"""Pairs of frames as batches, with the true predecessor or another frame in its place."""

from __future__ import annotations

import pytest
import torch

import stpl_rt
from stpl.data.batches import PreparedVideo
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset


@pytest.fixture(scope="module")
def video() -> PreparedVideo:
    data = InMemory(open_dataset("synthstreet:?domain=day&seed=3&sequences=2&frames=4&size=48x64"))
    return PreparedVideo(data, stpl_rt.InputSpec(64, 48, mean=(120.0, 115.0, 105.0), std=(58.0, 57.0, 57.0)))


def test_pairs_are_frames_and_their_predecessors(video):
    batch = video.pair_batch([1, 6])
    assert torch.equal(batch.present, torch.stack([video.image(1), video.image(6)]))
    assert torch.equal(batch.past, torch.stack([video.image(0), video.image(5)]))
    assert torch.equal(batch.flow, torch.stack([video.flow(1), video.flow(6)]))


def test_another_past_comes_with_the_flow_into_it(video):
    batch = video.pair_batch([1, 6, 3], past=[4, 5, 3])
    assert torch.equal(batch.past, torch.stack([video.image(4), video.image(5), video.image(3)]))
    assert torch.equal(batch.flow[1], video.flow(6))  # 5 is the predecessor of 6
    assert torch.equal(batch.flow[2], torch.zeros(2, 48, 64))  # from a frame into itself nothing moves
    between = stpl_rt.DisFlow(threads=1)(video.luma(1).numpy(), video.luma(4).numpy())
    assert torch.equal(batch.flow[0], torch.from_numpy(between).permute(2, 0, 1))
    assert not torch.equal(batch.flow[0], video.flow(1))


def test_first_frame_of_a_sequence_has_no_predecessor(video):
    with pytest.raises(ValueError, match="predecessor"):
        video.pair_batch([4])
