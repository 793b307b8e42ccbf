"""The compact network: about 1.5 M parameters, logits at a quarter of the input's resolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution without bias followed by batch normalisation; keeps the size but for ``stride``."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., 2016), the shortcut projected where shapes differ."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = conv_bn(channels_in, channels_out, stride=stride, dilation=dilation)
        self.conv2 = conv_bn(channels_out, channels_out, dilation=dilation)
        same = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same else conv_bn(channels_in, channels_out, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x), inplace=True))
        return F.relu(y + self.shortcut(x), inplace=True)


class CompactNet(nn.Module):
    """Residual encoder to 1/16, a global context vector, and a top-down decoder to 1/4.

    The input is ``(N, 3, H, W)`` float32 as :func:`stpl_rt.preprocess` makes it; any size of at least 16 pixels a
    side. ``features`` gives z ``(N, feature_channels, ceil(H/4), ceil(W/4))``, on which fusion and contrast work;
    ``logits`` decodes it to ``(N, num_classes, ceil(H/4), ceil(W/4))``, half-pixel geometry (no corner alignment).
    """

    stride = 4

    def __init__(self, num_classes: int, width: int = 48, feature_channels: int = 64) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_channels = feature_channels
        self.stem = nn.Sequential(
            conv_bn(3, width // 2, stride=2),
            nn.ReLU(inplace=True),
            conv_bn(width // 2, width, stride=2),
            nn.ReLU(inplace=True),
        )
        self.stage4 = ResidualBlock(width, width)
        self.stage8 = nn.Sequential(ResidualBlock(width, 2 * width, stride=2), ResidualBlock(2 * width, 2 * width))
        deep = 3 * width
        self.stage16 = nn.Sequential(
            ResidualBlock(2 * width, deep, stride=2),
            ResidualBlock(deep, deep, dilation=2),
            ResidualBlock(deep, deep, dilation=4),
        )
        self.context = nn.Conv2d(deep, feature_channels, 1)
        self.lateral16 = conv_bn(deep, feature_channels, kernel=1)
        self.lateral8 = conv_bn(2 * width, feature_channels, kernel=1)
        self.lateral4 = conv_bn(width, feature_channels, kernel=1)
        self.smooth8 = conv_bn(feature_channels, feature_channels)
        self.smooth4 = conv_bn(feature_channels, feature_channels)
        self.classifier = nn.Conv2d(feature_channels, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images: Tensor) -> Tensor:
        at4 = self.stage4(self.stem(images))
        at8 = self.stage8(at4)
        at16 = self.stage16(at8)
        # Channel means by mean(), not by pooling layers: it exports to one ReduceMean for any input size.
        context = self.context(at16.mean(dim=(2, 3), keepdim=True))
        z = F.relu(self.lateral16(at16) + context, inplace=True)
        z = F.relu(self.smooth8(self.lateral8(at8) + _resize_like(z, at8)), inplace=True)
        return F.relu(self.smooth4(self.lateral4(at4) + _resize_like(z, at4)), inplace=True)

    def logits(self, features: Tensor) -> Tensor:
        scores: Tensor = self.classifier(features)
        return scores

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))


def _resize_like(x: Tensor, reference: Tensor) -> Tensor:
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=False)
