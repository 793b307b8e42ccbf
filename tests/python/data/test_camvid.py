"""The folder format on real driving video. Runs where STPL_CAMVID names the folder of the clips."""

from __future__ import annotations

import os
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from stpl.data.specs import open_dataset

ROOT = os.environ.get("STPL_CAMVID")

pytestmark = [
    pytest.mark.real_video,
    pytest.mark.skipif(not ROOT, reason="STPL_CAMVID does not name the folder of the CamVid clips"),
]


def test_all_sequences_are_found_with_their_classes():
    data = open_dataset(f"folder:{ROOT}", need_labels=True)
    frames = Counter(data.frame_id(i).sequence for i in range(len(data)))
    assert frames == {
        "day_0006R0": 101,
        "day_0016E5": 204,
        "day_0016E5_15hz": 101,
        "day_Seq05VD": 171,
        "dusk_0001TP": 124,
    }
    assert data.name == "camvid"
    assert data.classes is not None
    assert len(data.classes) == 11
    assert data.classes.names[3] == "road"
    assert data.classes.colors[3] == (128, 64, 128)
    assert [data.frame_id(i).name for i in range(3)] == ["00930", "00960", "00990"]


def test_every_label_is_read_and_covers_the_classes():
    data = open_dataset(f"folder:{ROOT}?sequences=day_0006R0,dusk_0001TP")
    seen: set[int] = set()
    for index in data.labelled():
        label = data.label(index)
        assert label is not None
        assert label.shape == (360, 480)
        seen |= set(np.unique(label).tolist())
    assert seen == {*range(11), 255}


def test_consecutive_frames_are_alike_and_in_order():
    data = open_dataset(f"folder:{ROOT}?sequences=day_0016E5_15hz")
    assert data.fps == 15
    assert data.labelled() == list(range(50))
    frames = [data.frame(i).astype(np.int16) for i in range(0, 12)]
    assert frames[0].shape == (360, 480, 3)
    next_differs = [np.abs(now - before).mean() for before, now in pairwise(frames)]
    far_differs = np.abs(frames[11] - frames[0]).mean()
    assert max(next_differs) < far_differs
