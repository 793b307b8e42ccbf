"""The compact network, the warp and the fusion block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import stpl_rt
from stpl.errors import UserError
from stpl.models import CompactNet, Fusion, SegmentationModel, build_model, resize_flow, warp


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


@pytest.mark.parametrize(("kind", "channels"), [("concatenation", 12), ("1x1", 6)])
def test_fusion_brings_the_past_along_the_flow(kind, channels):
    past = torch.randn(1, 6, 10, 10)
    flow = torch.zeros(1, 2, 10, 10)
    flow[:, 0] = 2.0
    present = torch.roll(past, -2, dims=3)  # present(x) = past(x + 2)
    fused = Fusion(kind, 6)(past, present, flow)
    assert fused.shape == (1, channels, 10, 10)
    # Where the past comes to lie on the present, their mean is the present, and their stack holds it twice.
    expected = present if kind == "1x1" else torch.cat((present, present), 1)
    torch.testing.assert_close(fused[..., :8], expected[..., :8], atol=1e-5, rtol=0)


def test_unknown_fusion_is_refused():
    with pytest.raises(ValueError, match="1x1"):
        Fusion("sum", 4)  # type: ignore[arg-type]
