"""Differentiable backward warp of feature maps along optical flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Brings flow ``(N, 2, H, W)`` (dx, dy, in pixels of its own grid) to another grid, rescaled per axis."""
    if flow.shape[-2:] == (height, width):
        return flow
    resized = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
    # Numbers, not a tensor of them, which a GPU would have to be waited for.
    return torch.stack((resized[:, 0] * (width / flow.shape[-1]), resized[:, 1] * (height / flow.shape[-2])), dim=1)


def warp(past: Tensor, flow: Tensor) -> Tensor:
    """``warped(x, y) = past(x + dx, y + dy)``, bilinear, coordinates clamped to the border.

    Args:
        past: ``(N, C, h, w)`` maps of frame t-1.
        flow: ``(N, 2, H, W)`` flow of frame t into t-1, in pixels of its own grid, which may be another one.

    Returns:
        ``(N, C, h, w)`` maps brought to frame t. The same definition as ``stpl_rt.warp``.
    """
    height, width = past.shape[-2:]
    flow = resize_flow(flow, height, width)
    ys = torch.arange(height, dtype=flow.dtype, device=flow.device).view(1, height, 1)
    xs = torch.arange(width, dtype=flow.dtype, device=flow.device).view(1, 1, width)
    return _sample(past, xs + flow[:, 0], ys + flow[:, 1])


def warp_pixels(past: Tensor, flow: Tensor, at: Tensor) -> Tensor:
    """:func:`warp` for some pixels alone: what costs follows their number and not the resolution.

    Args:
        at: ``(N, B)`` int64 positions in the flattened ``h * w`` grid of ``past``.

    Returns:
        ``(N, B, C)``.
    """
    height, width = past.shape[-2:]
    moved = resize_flow(flow, height, width).flatten(2).gather(2, at[:, None, :].expand(-1, 2, -1))
    x, y = at % width + moved[:, 0], at.div(width, rounding_mode="floor") + moved[:, 1]
    return _sample(past, x[:, None, :], y[:, None, :])[:, :, 0, :].transpose(1, 2)


def gather_pixels(maps: Tensor, at: Tensor) -> Tensor:
    """``(N, C, h, w)`` maps at flattened positions ``(N, B)``: ``(N, B, C)``."""
    count, channels, height, width = maps.shape
    if not maps.is_contiguous(memory_format=torch.channels_last):
        return maps.flatten(2).gather(2, at[:, None, :].expand(-1, channels, -1)).transpose(1, 2)
    # Whole pixels lie together: as rows they are read, and their gradients added, several times as fast.
    rows = maps.permute(0, 2, 3, 1).reshape(-1, channels)
    first = torch.arange(count, device=at.device)[:, None] * (height * width)
    return rows.index_select(0, (at + first).flatten()).view(count, -1, channels)


def _sample(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``(N, C, h, w)`` maps at coordinates ``(N, h', w')`` in pixels, bilinear, clamped to the border."""
    height, width = maps.shape[-2:]
    # grid_sample with align_corners=True maps -1..1 onto the pixel centres 0..size-1.
    grid = torch.stack((x * (2.0 / max(width - 1, 1)) - 1.0, y * (2.0 / max(height - 1, 1)) - 1.0), dim=-1)
    # Half precision cannot tell neighbouring pixels' coordinates apart: they keep theirs, and the maps follow.
    kind = torch.promote_types(maps.dtype, grid.dtype)
    return F.grid_sample(maps.to(kind), grid.to(kind), mode="bilinear", padding_mode="border", align_corners=True)
