"""Attention over a space-time window, as a fusion of two frames' features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stpl.models.warp import gather_pixels, warp_pixels

EPSILON = 1e-5
"""Added to mean squares before their root is divided by: features may be zero all over after a ReLU."""


class WindowAttention(nn.Module):
    """Each pixel of frame t attends to the window around it in both frames, the past one brought along the flow.

    Scaled dot products of RMS-normalised features plus a learned bias for every place of the window decide how the
    window's features are averaged; pixels outside the frame take no part. The projections start at identity and the
    bias at zero: at first a pixel gathers what resembles it, itself above all, from its neighbourhood in space and
    time, so that from the first step on the contrast sees both frames. Keys and values are the features themselves:
    a projection of the keys would only rotate the queries, one of the values the output.

    Time and memory are linear in the number of pixels asked for: 2 * window^2 * C numbers each.

    Args:
        channels: C of the features.
        window: side of the window, odd.
    """

    def __init__(self, channels: int, window: int = 3) -> None:
        super().__init__()
        if window % 2 != 1:
            raise ValueError(f"window: expected an odd number of pixels; found {window}")
        self.out_channels = channels
        self.window = window
        self.query = nn.Linear(channels, channels, bias=False)
        self.output = nn.Linear(channels, channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(2 * window * window))
        for projection in (self.query, self.output):
            nn.init.eye_(projection.weight)

    def forward(self, past: Tensor, present: Tensor, flow: Tensor, at: Tensor) -> Tensor:
        """As :meth:`stpl.models.fusion.Fusion.forward`."""
        around, inside = window_positions(at, present.shape[-2], present.shape[-1], self.window)
        places = around.flatten(1)
        shape = (*around.shape, present.shape[1])
        frames = [gather_pixels(present, places).reshape(shape), warp_pixels(past, flow, places).reshape(shape)]
        query = self.query(F.rms_norm(gather_pixels(present, at), shape[-1:], eps=EPSILON))
        scores = torch.cat([_scores(query, features) for features in frames], dim=2) + self.bias
        weights = scores.masked_fill(~inside.repeat(1, 1, 2), float("-inf")).softmax(dim=2)
        parts = weights.to(present.dtype).chunk(2, dim=2)
        mean = sum((w[:, :, None, :] @ f)[:, :, 0, :] for w, f in zip(parts, frames, strict=True))
        fused: Tensor = self.output(mean)
        return fused


def _scores(query: Tensor, features: Tensor) -> Tensor:
    """Scaled products of queries ``(N, B, C)`` with RMS-normalised features ``(N, B, W, C)``: ``(N, B, W)`` float32.

    The length divides the product instead of the features, which would be copied for it.
    """
    products = (features @ query[..., None])[..., 0].float()
    mean_square = features.float().square().mean(dim=3)
    scores: Tensor = products * torch.rsqrt((mean_square + EPSILON) * features.shape[3])
    return scores


def window_positions(at: Tensor, height: int, width: int, window: int) -> tuple[Tensor, Tensor]:
    """The window around each pixel: flattened positions ``(N, B, window^2)``, clamped to the frame, and whether each
    lies inside it."""
    reach = torch.arange(window, device=at.device) - window // 2
    y = at.div(width, rounding_mode="floor")[..., None, None] + reach[:, None]
    x = (at % width)[..., None, None] + reach
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    places = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return places.flatten(2), inside.flatten(2)
