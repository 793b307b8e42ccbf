"""Purity of a model's features on labelled video."""

from __future__ import annotations

import purity
import pytest
import torch
from execution import snapshot_file
from purity import PIXELS, code_digest, last_checkpoint, sampled_features

from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.models.registry import build_model
from stpl.train.checkpoint import FILE_NAME, Checkpoint, InputConfig, save_checkpoint


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


def test_the_last_snapshot_is_measured_whatever_was_selected(street, tmp_path):
    blank = Checkpoint("compact", street.classes, InputConfig(height=48, width=64), {})
    of = {
        name: blank.with_weights(build_model("compact", len(street.classes)), step=name) for name in ("9", "75", "100")
    }
    save_checkpoint(of["75"], tmp_path / FILE_NAME)
    assert last_checkpoint(tmp_path).provenance["step"] == "75"
    for name, checkpoint in of.items():
        save_checkpoint(checkpoint, snapshot_file(tmp_path, int(name)))
    assert last_checkpoint(tmp_path).provenance["step"] == "100"


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("benchmarks/purity.py", "default_rng(0)", "default_rng(1)", True),
        ("python/stpl/train/adapt.py", "def adapt", "@cache\ndef adapt", False),
        ("python/stpl/method/purity.py", "def neighbour_purity", "@cache\ndef neighbour_purity", True),
        ("python/stpl/train/stages.py", "def spread", "@cache\ndef spread", True),
    ],
)
def test_the_code_that_samples_features_counts(code_copy, monkeypatch, file, old, new, counts):
    monkeypatch.setattr(purity, "ROOT", code_copy)
    before = code_digest()
    text = (code_copy / file).read_text()
    assert old in text
    (code_copy / file).write_text(text.replace(old, new, 1))
    assert (code_digest() != before) == counts
