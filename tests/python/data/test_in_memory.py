"""Video kept in memory."""

from __future__ import annotations

import numpy as np

from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset


def test_frames_and_labels_are_those_of_the_data_set_and_made_once(monkeypatch):
    original = open_dataset("synthstreet:?domain=day&seed=3&sequences=2&frames=2&size=48x64")
    kept = InMemory(original)
    assert len(kept) == 4
    assert kept.labelled() == original.labelled()
    assert [kept.previous(i) for i in range(4)] == [original.previous(i) for i in range(4)]
    assert kept.frame_id(3) == original.frame_id(3)
    np.testing.assert_array_equal(kept.frame(2), original.frame(2))
    np.testing.assert_array_equal(kept.label(2), original.label(2))
    np.testing.assert_array_equal(kept.exact_flow(1), original.exact_flow(1))
    monkeypatch.setattr(type(original), "frame", None)
    monkeypatch.setattr(type(original), "label", None)
    assert kept.frame(2).shape == (48, 64, 3)
    assert kept.label(2).shape == (48, 64)
