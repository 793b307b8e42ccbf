"""The compact network and the warp."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import stpl_rt
from stpl.errors import UserError
from stpl.models import CompactNet, SegmentationModel, build_model, resize_flow, warp


def test_compact_has_one_to_two_million_parameters_and_logits_at_a_quarter():
    model = CompactNet(11).eval()
    parameters = sum(p.numel() for p in model.parameters())
    assert 1_000_000 <= parameters <= 2_000_000
    logits = model(torch.zeros(2, 3, 96, 128))
    assert logits.shape == (2, 11, 24, 32)


@pytest.mark.parametrize("size", [(16, 16), (97, 131), (240, 320)])
def test_compact_takes_any_size(size):
    height, width = size
    logits = CompactNet(5).eval()(torch.zeros(1, 3, height, width))
    assert logits.shape[-2:] == (-(-height // 4), -(-width // 4))


@pytest.mark.parametrize("name", ["compact", "pidnet-s", "segformer-b0"])
def test_forward_is_logits_of_features(name):
    model = build_model(name, 7).eval()
    assert isinstance(model, SegmentationModel)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        features = model.features(images)
        assert features.shape[1] == model.feature_channels
        torch.testing.assert_close(model.logits(features), model(images))


def test_unknown_model_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'compact'"):
        build_model("compcat", 3)


def test_warp_is_the_runtimes_warp():
    rng = np.random.default_rng(3)
    past = rng.normal(size=(4, 17, 23)).astype(np.float32)
    flow = rng.normal(scale=5.0, size=(17, 23, 2)).astype(np.float32)
    ours = warp(torch.from_numpy(past)[None], torch.from_numpy(flow).permute(2, 0, 1)[None])[0]
    np.testing.assert_allclose(ours.numpy(), stpl_rt.warp(past, flow), atol=2e-4)


def test_flow_scales_with_resolution_per_axis():
    flow = torch.ones(1, 2, 8, 12)
    half = resize_flow(flow, 4, 3)
    assert torch.allclose(half[:, 0], torch.tensor(0.25)) and torch.allclose(half[:, 1], torch.tensor(0.5))


def test_heavy_libraries_wait_until_they_are_needed():
    program = (
        "import sys; from stpl.models import build_model; import stpl.train.open_model; build_model('compact', 2); "
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
