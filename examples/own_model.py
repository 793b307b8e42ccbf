"""A network of your own: what stpl asks of it, and how to use it. Only PyTorch is needed.

stpl-adapt source   --model own_model:build --data "synthstreet:?domain=day&seed=1" --out runs/own steps=300
stpl-adapt adapt    --model runs/own --arch own_model:build --target drive.mp4 --out runs/own-drive
stpl-adapt export   --model runs/own-drive --arch own_model:build --out own.bundle

Run these in this folder, or put the module where Python finds it. A raw state dict of such a network
(``torch.save(model.state_dict(), "own.pth")``) is a model, too, with --arch own_model:build --classes FILE.yaml.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class TinySegmenter(nn.Module):
    """Three strided stages and one lateral connection; group normalisation, so that batches of any size will do."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_channels = 32  # of what features() gives
        self.stage4 = nn.Sequential(block(3, 16, stride=2), block(16, 32, stride=2))
        self.stage8 = block(32, 48, stride=2)
        self.lateral = nn.Conv2d(32, 32, 1)
        self.top = nn.Conv2d(48, 32, 1)
        self.classifier = nn.Conv2d(32, num_classes, 1)

    def features(self, images: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to the features (N, 32, H/4, W/4) that the contrast works on."""
        at4 = self.stage4(images)
        top = self.top(self.stage8(at4))
        return F.relu(self.lateral(at4) + F.interpolate(top, size=at4.shape[-2:], mode="bilinear", align_corners=False))

    def logits(self, features: Tensor) -> Tensor:
        """Features to class scores (N, num_classes, h, w) of any size; they are resized to the frame's."""
        scores: Tensor = self.classifier(features)
        return scores


def block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    """A 3x3 convolution, normalised and rectified."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, channels_out), nn.ReLU(inplace=True))


def build(num_classes: int) -> nn.Module:
    """The factory that ``own_model:build`` names."""
    return TinySegmenter(num_classes)
