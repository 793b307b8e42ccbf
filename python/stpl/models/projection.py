"""The projection head H: features of sampled pixels to unit vectors for the contrast."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Two linear layers and L2 normalisation, applied to pixels already sampled: ``(…, C)`` to ``(…, dim)``.

    On pixels rather than on maps, so that its cost follows the sampled anchors and not the resolution. The paper
    does not publish H's shape; this is the usual one (SimCLR: one hidden layer of the input's width).
    """

    def __init__(self, channels: int, dim: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.layers(pixels).float(), dim=-1)
