"""Differentiable backward warp of feature maps along optical flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Brings flow ``(N, 2, H, W)`` (dx, dy, in pixels of its own grid) to another grid, rescaled per axis."""
    if flow.shape[-2:] == (height, width):
        return flow
    scale = flow.new_tensor([width / flow.shape[-1], height / flow.shape[-2]]).view(1, 2, 1, 1)
    return F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False) * scale


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
    # grid_sample with align_corners=True maps -1..1 onto the pixel centres 0..size-1.
    x = (xs + flow[:, 0]) * (2.0 / max(width - 1, 1)) - 1.0
    y = (ys + flow[:, 1]) * (2.0 / max(height - 1, 1)) - 1.0
    grid = torch.stack((x, y), dim=-1).to(past.dtype)
    return F.grid_sample(past, grid, mode="bilinear", padding_mode="border", align_corners=True)
