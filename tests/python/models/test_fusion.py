"""The fusion block: every kind against known flow, its start, its cost and its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from stpl.models import Fusion, warp
from stpl.models.attention import WindowAttention, window_positions
from stpl.models.warp import gather_pixels, warp_pixels

KINDS = ["concatenation", "addition", "1x1", "attention"]


def everywhere(maps: torch.Tensor) -> torch.Tensor:
    return torch.arange(maps.shape[-2] * maps.shape[-1]).expand(len(maps), -1)


def test_warped_pixels_are_those_of_the_warped_map():
    torch.manual_seed(0)
    past, flow = torch.randn(2, 5, 9, 12), 3 * torch.randn(2, 2, 18, 24)
    at = torch.randint(0, 9 * 12, (2, 30))
    torch.testing.assert_close(warp_pixels(past, flow, at), gather_pixels(warp(past, flow), at))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pixels_are_gathered_whatever_the_layout(layout):
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 4, 7).contiguous(memory_format=layout).requires_grad_()
    at = torch.randint(0, 28, (2, 40))
    picked = gather_pixels(maps, at)
    for n in range(2):
        assert torch.equal(picked[n], maps[n].flatten(1)[:, at[n]].T)
    picked.sum().backward()
    times = torch.stack([torch.bincount(row, minlength=28) for row in at]).view(2, 1, 4, 7)
    assert torch.equal(maps.grad, times.expand(-1, 5, -1, -1).float())


def test_half_precision_features_are_warped_with_exact_coordinates():
    past = torch.arange(300.0).expand(1, 1, 2, 300).to(torch.bfloat16)
    warped = warp(past, torch.zeros(1, 2, 2, 300))
    torch.testing.assert_close(warped, past.float(), atol=1e-2, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_fusion_brings_the_past_along_the_flow(kind):
    torch.manual_seed(0)
    past = torch.randn(1, 6, 10, 10)
    flow = torch.zeros(1, 2, 10, 10)
    flow[:, 0] = 2.0
    present = torch.roll(past, -2, dims=3)  # present(x) = past(x + 2)
    fused = Fusion(kind, 6)(past, present, flow, everywhere(past))
    # What comes to lie on the present is the present: as if it had been given twice, unmoved.
    twice = Fusion(kind, 6)(present, present, torch.zeros_like(flow), everywhere(past))
    left = (everywhere(past)[0] % 10) < 6  # away from what the flow clamps, by the window's reach
    torch.testing.assert_close(fused[:, left], twice[:, left], atol=1e-4, rtol=0)
    assert not torch.allclose(fused[:, left], Fusion(kind, 6)(past, past, flow, everywhere(past))[:, left], atol=0.1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("concatenation", lambda z, past: torch.cat((z, past), dim=2)),
        ("addition", lambda z, past: z + past),
        ("1x1", lambda z, past: (z + past) / 2),
    ],
)
def test_pointwise_fusions_start_as_they_say(kind, expected):
    torch.manual_seed(0)
    past, present, flow = torch.randn(2, 6, 8, 9), torch.randn(2, 6, 8, 9), torch.randn(2, 2, 8, 9)
    at = torch.randint(0, 72, (2, 20))
    fused = Fusion(kind, 6)(past, present, flow, at)
    torch.testing.assert_close(fused, expected(gather_pixels(present, at), warp_pixels(past, flow, at)))


def rms_normalised(value: torch.Tensor) -> torch.Tensor:
    return value / (value.square().mean() + 1e-5).sqrt()


def attention_by_hand(block: WindowAttention, past, present, at: int) -> torch.Tensor:
    """One pixel of one image without flow, place by place."""
    height, width = present.shape[-2:]
    y, x, reach = at // width, at % width, block.window // 2
    places = [(y + dy, x + dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    inside = [i for i, (v, u) in enumerate(places) if 0 <= v < height and 0 <= u < width]
    query = block.query(rms_normalised(present[:, y, x]))
    values, scores = [], []
    for frame, maps in enumerate((present, past)):
        for i in inside:
            value = maps[:, places[i][0], places[i][1]]
            values.append(value)
            score = query @ rms_normalised(value) / len(value) ** 0.5
            scores.append(score + block.bias[frame * len(places) + i])
    return block.output(torch.stack(scores).softmax(dim=0) @ torch.stack(values))


def test_attention_is_its_definition_with_any_weights_and_at_the_border():
    torch.manual_seed(0)
    block = WindowAttention(8, window=3)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    past, present = torch.randn(1, 8, 5, 6), torch.randn(1, 8, 5, 6)
    fused = block(past, present, torch.zeros(1, 2, 5, 6), everywhere(present))
    for at in (0, 5, 14, 29):
        torch.testing.assert_close(
            fused[0, at], attention_by_hand(block, past[0], present[0], at), atol=1e-5, rtol=1e-4
        )


def test_attention_starts_near_the_pixel_itself_where_nothing_resembles_it():
    torch.manual_seed(0)
    z = torch.randn(1, 64, 8, 8)
    fused = WindowAttention(64)(z, z, torch.zeros(1, 2, 8, 8), everywhere(z))
    own = gather_pixels(z, everywhere(z))
    assert F.cosine_similarity(fused, own, dim=2).min() > 0.95


def test_attention_starts_as_an_average_of_the_window():
    torch.manual_seed(0)
    past, present = torch.rand(1, 16, 6, 6), torch.rand(1, 16, 6, 6)
    fused = WindowAttention(16)(past, present, torch.randn(1, 2, 6, 6), everywhere(present))
    assert fused.min() >= min(past.min(), present.min()) and fused.max() <= max(past.max(), present.max())


def test_window_lies_around_the_pixel_and_knows_the_frame():
    places, inside = window_positions(torch.tensor([[0, 7]]), 3, 5, 3)
    assert inside[0, 0].tolist() == [False, False, False, False, True, True, False, True, True]
    assert places[0, 1].tolist() == [1, 2, 3, 6, 7, 8, 11, 12, 13] and inside[0, 1].all()


def test_attention_to_dead_features_is_finite():
    z = torch.zeros(1, 8, 4, 4, requires_grad=True)
    fused = WindowAttention(8)(z, z, torch.zeros(1, 2, 4, 4), everywhere(z))
    fused.sum().backward()
    assert torch.isfinite(fused).all() and torch.isfinite(z.grad).all()


def test_even_window_is_refused():
    with pytest.raises(ValueError, match="odd"):
        WindowAttention(4, window=4)


class Largest(torch.overrides.TorchFunctionMode):
    """Remembers the largest tensor that anything returned while it was on."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            self.numel = max(self.numel, result.numel())
        return result


def cost(kind: str, pixels: int, side: int) -> tuple[int, int]:
    """Floating-point operations of the products, forward and backward, and the largest activation."""
    past, present = torch.randn(1, 16, side, side), torch.randn(1, 16, side, side, requires_grad=True)
    at = torch.randperm(side * side)[:pixels][None]
    fusion, flow = Fusion(kind, 16), torch.zeros(1, 2, side, side)
    with FlopCounterMode(display=False) as flops, Largest() as largest:
        fused = fusion(past, present, flow, at)
    with flops:
        fused.sum().backward()
    return flops.get_total_flops(), largest.numel


@pytest.mark.parametrize("kind", ["1x1", "attention"])
def test_cost_is_linear_in_the_pixels_and_free_of_the_resolution(kind):
    flops, largest = cost(kind, 50, 16)
    twice_flops, twice_largest = cost(kind, 100, 16)
    assert twice_flops <= 2 * flops and twice_largest <= 2 * max(largest, 16 * 16 * 16)
    far_flops, far_largest = cost(kind, 50, 32)
    # The maps themselves, and their flattened view, are all that grows.
    assert far_flops == flops and far_largest <= max(largest, 16 * 32 * 32)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_both_frames_and_every_weight(kind):
    torch.manual_seed(0)
    past, present = (torch.randn(1, 6, 8, 8, requires_grad=True) for _ in range(2))
    fusion = Fusion(kind, 6)
    fused = fusion(past, present, torch.randn(1, 2, 8, 8), torch.arange(10)[None])
    assert fused.shape == (1, 10, fusion.out_channels)
    (fused**2).sum().backward()
    for tensor in (past, present, *fusion.parameters()):
        assert torch.isfinite(tensor.grad).all() and tensor.grad.abs().sum() > 0


def test_unknown_fusion_is_refused():
    with pytest.raises(ValueError, match="1x1"):
        Fusion("sum", 4)  # type: ignore[arg-type]
