"""The networks of the runtime's accel mode: they work on logits, beside the segmentation network, and are shown only.

Both begin as the identity: an untrained one changes no label.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stpl.models.compact import ResidualBlock, conv_bn


class FuseNet(nn.Module):
    """A key frame's logits with those carried to it: a 1x1 convolution of both, 2C channels to C."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * num_classes, num_classes, 1)
        for parameter in self.mix.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.mix.weight[:, :num_classes, 0, 0] = torch.eye(num_classes)

    def forward(self, logits: Tensor, past: Tensor) -> Tensor:
        """``(N, C, h, w)`` both, to the same."""
        fused: Tensor = self.mix(torch.cat([logits, past], dim=1))
        return fused


class UpdateNet(nn.Module):
    """Corrects the logits that were carried to a frame by looking at the frame with half the resolution.

    The segmentation network's own encoder sees the frame at half its height and width, a quarter of the work; a
    small head sets its features against what was carried and adds a correction.

    Args:
        network: the adapted network (:class:`stpl.models.protocol.SegmentationModel`); its encoder is used, and
            trained on, so it must be nobody else's.
        width: channels of the head.
    """

    def __init__(self, network: nn.Module, width: int = 64) -> None:
        super().__init__()
        classes, channels = int(network.num_classes), int(network.feature_channels)  # type: ignore[arg-type]
        self.network = network
        self.seen = conv_bn(channels, width, kernel=1)
        self.carried = conv_bn(4 * classes, width, kernel=1)
        self.block = ResidualBlock(width, width)
        self.correction = nn.Conv2d(width, 4 * classes, 1)
        for parameter in self.correction.parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: Tensor, carried: Tensor) -> Tensor:
        """Normalised images ``(N, 3, H, W)`` and carried logits ``(N, C, h, w)`` to logits ``(N, C, h, w)``."""
        height, width = images.shape[-2:]
        half = F.interpolate(images, size=((height + 1) // 2, (width + 1) // 2), mode="bilinear", align_corners=False)
        seen = self.seen(self.network.features(half))  # type: ignore[operator]
        # A shift of all classes means nothing to a softmax; networks differ in it.
        centred = carried - carried.mean(dim=1, keepdim=True)
        rows, columns = carried.shape[-2:]
        padded = F.pad(centred, (0, columns % 2, 0, rows % 2), mode="replicate")
        folded = self.carried(F.pixel_unshuffle(padded, 2))
        x = F.relu(folded + F.interpolate(seen, size=folded.shape[-2:], mode="bilinear", align_corners=False))
        correction = F.pixel_shuffle(self.correction(self.block(x)), 2)
        return centred + correction[..., :rows, :columns]

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Those that come from the segmentation network."""
        return list(self.network.parameters())

    def head_parameters(self) -> list[nn.Parameter]:
        """The new ones."""
        encoder = {id(parameter) for parameter in self.encoder_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in encoder]
