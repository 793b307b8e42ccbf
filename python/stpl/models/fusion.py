"""The fusion block F of STPL: a frame's features joined with the past frame's, brought to it along the flow.

Source: S.-Y. Lo et al., "Spatio-Temporal Pixel-Level Contrastive Learning-based Source-Free Domain Adaptation
for Video Semantic Segmentation", CVPR 2023: z_(t-1,t) = f(warp(z_{t-1}, o), z_t).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from stpl.models.warp import warp

FusionKind = Literal["concatenation", "1x1"]


class Concatenation(nn.Module):
    """f(z', z) = [z, z']: twice the channels, nothing to learn."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = 2 * channels

    def forward(self, warped_past: Tensor, present: Tensor) -> Tensor:
        return torch.cat((present, warped_past), dim=1)


class Pointwise(nn.Module):
    """f(z', z) = Conv1x1([z, z']), 2C to C channels.

    It starts at the mean of both frames, so that from the first step on the contrast sees both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.conv = nn.Conv2d(2 * channels, channels, 1, bias=False)
        half = 0.5 * torch.eye(channels)
        with torch.no_grad():
            self.conv.weight.copy_(torch.cat((half, half), dim=1)[:, :, None, None])

    def forward(self, warped_past: Tensor, present: Tensor) -> Tensor:
        fused: Tensor = self.conv(torch.cat((present, warped_past), dim=1))
        return fused


class Fusion(nn.Module):
    """F: warps z_{t-1} to frame t and joins the two.

    Args:
        kind: ``"concatenation"`` or ``"1x1"``.
        channels: C of the features.
    """

    def __init__(self, kind: FusionKind, channels: int) -> None:
        super().__init__()
        blocks: dict[str, type[Concatenation] | type[Pointwise]] = {"concatenation": Concatenation, "1x1": Pointwise}
        if kind not in blocks:
            raise ValueError(f"fusion: expected one of {', '.join(blocks)}; found {kind!r}")
        self.block = blocks[kind](channels)
        self.out_channels: int = self.block.out_channels

    def forward(self, past: Tensor, present: Tensor, flow: Tensor) -> Tensor:
        """``past`` and ``present`` ``(N, C, h, w)``, flow ``(N, 2, H, W)``; ``(N, out_channels, h, w)``."""
        fused: Tensor = self.block(warp(past, flow), present)
        return fused
