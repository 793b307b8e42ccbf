"""Purity of a model's features on labelled video."""

from __future__ import annotations

import pytest
import torch
from purity import PIXELS, sampled_features

from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.models.registry import build_model
from stpl.train.checkpoint import Checkpoint, InputConfig


@pytest.fixture(scope="module")
def street() -> InMemory:
    return InMemory(open_dataset("synthstreet:?domain=day&seed=1&sequences=1&frames=3&size=48x64"))


def test_pixels_are_sampled_class_by_class_with_their_own_features(street):
    torch.manual_seed(0)
    model = build_model("compact", len(street.classes)).eval()
    blank = Checkpoint("compact", street.classes, InputConfig(height=48, width=64), {})
    features, labels = sampled_features(blank.with_weights(model), street)
    counts = torch.bincount(labels, minlength=len(street.classes))
    assert features.shape == (len(labels), model.feature_channels)
    assert int(counts.max()) <= PIXELS and int((counts > 0).sum()) >= 4
    again, same = sampled_features(blank.with_weights(model), street)
    assert torch.equal(features, again) and torch.equal(labels, same)
    # Labels lie on the features' grid: none of a class that the frames do not show.
    shown = {int(c) for i in range(3) for c in torch.unique(torch.from_numpy(street.label(i)))}
    assert {int(c) for c in labels.unique()} <= shown
