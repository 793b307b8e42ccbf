"""The fusion block F of STPL: a frame's features joined with the past frame's, brought to it along the flow.

Source: S.-Y. Lo et al., "Spatio-Temporal Pixel-Level Contrastive Learning-based Source-Free Domain Adaptation
for Video Semantic Segmentation", CVPR 2023: z_(t-1,t) = f(warp(z_{t-1}, o), z_t). The four f are the poster's; their
shapes are not published.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from stpl.models.attention import WindowAttention
from stpl.models.warp import gather_pixels, warp_pixels

FusionKind = Literal["concatenation", "addition", "1x1", "attention"]


class Concatenation(nn.Module):
    """f(z', z) = [z, z']: twice the channels, nothing to learn."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = 2 * channels

    def forward(self, past: Tensor, present: Tensor, flow: Tensor, at: Tensor) -> Tensor:
        return torch.cat((gather_pixels(present, at), warp_pixels(past, flow, at)), dim=2)


class Addition(nn.Module):
    """f(z', z) = z + z': nothing to learn."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, past: Tensor, present: Tensor, flow: Tensor, at: Tensor) -> Tensor:
        return gather_pixels(present, at) + warp_pixels(past, flow, at)


class Pointwise(nn.Module):
    """f(z', z) = Conv1x1([z, z']), 2C to C channels.

    It starts at the mean of both frames, so that from the first step on the contrast sees both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.linear = nn.Linear(2 * channels, channels, bias=False)
        half = 0.5 * torch.eye(channels)
        with torch.no_grad():
            self.linear.weight.copy_(torch.cat((half, half), dim=1))

    def forward(self, past: Tensor, present: Tensor, flow: Tensor, at: Tensor) -> Tensor:
        fused: Tensor = self.linear(torch.cat((gather_pixels(present, at), warp_pixels(past, flow, at)), dim=2))
        return fused


Block = Concatenation | Addition | Pointwise | WindowAttention
BLOCKS: dict[str, type[Block]] = {
    "concatenation": Concatenation,
    "addition": Addition,
    "1x1": Pointwise,
    "attention": WindowAttention,
}


class Fusion(nn.Module):
    """F: warps z_{t-1} to frame t and joins the two, at the pixels asked for.

    Time and memory follow the number of those pixels; neither frame's map is ever warped or fused as a whole.

    Args:
        kind: which f.
        channels: C of the features.

    Raises:
        ValueError: an unknown kind.
    """

    def __init__(self, kind: FusionKind, channels: int) -> None:
        super().__init__()
        if kind not in BLOCKS:
            raise ValueError(f"fusion: expected one of {', '.join(BLOCKS)}; found {kind!r}")
        self.block = BLOCKS[kind](channels)
        self.out_channels: int = self.block.out_channels

    def forward(self, past: Tensor, present: Tensor, flow: Tensor, at: Tensor) -> Tensor:
        """Fused features of some pixels of frame t.

        Args:
            past, present: ``(N, C, h, w)`` features of frames t-1 and t.
            flow: ``(N, 2, H, W)`` flow of t into t-1, in pixels of its own grid.
            at: ``(N, B)`` int64 positions in the flattened ``h * w`` grid.

        Returns:
            ``(N, B, out_channels)``.
        """
        fused: Tensor = self.block(past, present, flow, at)
        return fused
