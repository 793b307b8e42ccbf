"""PIDNet-S: a real-time network of three branches, by the names of its published Cityscapes weights.

Source: J. Xu, Z. Xiong, S. P. Bhattacharyya, "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID
Controllers", CVPR 2023. Like a controller it has a proportional branch (details, at 1/8), an integral branch
(context, down to 1/64) and a derivative branch (boundaries, at 1/8).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AUXILIARY = ("seghead_p.", "seghead_d.", "loss.")
"""Names in published files that serve training alone: two auxiliary heads, and the loss's class weights."""


def conv_bn(channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch normalisation."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out))


def bn_relu_conv(channels_in: int, channels_out: int, kernel: int = 1, groups: int = 1) -> list[nn.Module]:
    """The other way round: normalised and rectified before the convolution."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    return [nn.BatchNorm2d(channels_in), nn.ReLU(inplace=True), convolution]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the last of a stage leaves its sum unrectified."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1, rectify: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(channels_in, channels, stride)
        self.rectify = rectify

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y)) + (x if self.downsample is None else self.downsample(x))
        return F.relu(y, inplace=True) if self.rectify else y


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 to twice the width, and a shortcut; the sum stays unrectified."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * channels)
        self.downsample = _shortcut(channels_in, 2 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        summed: Tensor = self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x))
        return summed


class PagFM(nn.Module):
    """Pixel-attention-guided fusion: takes from the context as much as it agrees with the details, pixel by pixel."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.f_x = conv_bn(channels, embedding)
        self.f_y = conv_bn(channels, embedding)

    def forward(self, details: Tensor, context: Tensor) -> Tensor:
        likeness = self.f_x(details) * _resize_like(self.f_y(context), details)
        share = torch.sigmoid(likeness.sum(dim=1, keepdim=True))
        return (1.0 - share) * details + share * _resize_like(context, details)


class PAPPM(nn.Module):
    """Parallel aggregation of pyramid pooling: the map itself, three pooled ones and its mean, in one grouped 3x3."""

    def __init__(self, channels_in: int, branch: int, channels_out: int) -> None:
        super().__init__()
        self.scale0 = nn.Sequential(*bn_relu_conv(channels_in, branch))
        self.scale1 = nn.Sequential(nn.AvgPool2d(5, 2, 2), *bn_relu_conv(channels_in, branch))
        self.scale2 = nn.Sequential(nn.AvgPool2d(9, 4, 4), *bn_relu_conv(channels_in, branch))
        self.scale3 = nn.Sequential(nn.AvgPool2d(17, 8, 8), *bn_relu_conv(channels_in, branch))
        self.scale4 = nn.Sequential(nn.AdaptiveAvgPool2d(1), *bn_relu_conv(channels_in, branch))
        self.scale_process = nn.Sequential(*bn_relu_conv(4 * branch, 4 * branch, kernel=3, groups=4))
        self.compression = nn.Sequential(*bn_relu_conv(5 * branch, channels_out))
        self.shortcut = nn.Sequential(*bn_relu_conv(channels_in, channels_out))

    def forward(self, x: Tensor) -> Tensor:
        own = self.scale0(x)
        pooled = [_resize_like(scale(x), x) + own for scale in (self.scale1, self.scale2, self.scale3, self.scale4)]
        joined = torch.cat((own, self.scale_process(torch.cat(pooled, dim=1))), dim=1)
        aggregated: Tensor = self.compression(joined) + self.shortcut(x)
        return aggregated


class LightBag(nn.Module):
    """Boundary-attention-guided fusion: details where the boundary branch is sure, context elsewhere."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_p = conv_bn(channels, channels)
        self.conv_i = conv_bn(channels, channels)

    def forward(self, details: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        edge = torch.sigmoid(boundary)
        fused: Tensor = self.conv_p((1.0 - edge) * context + details) + self.conv_i(context + edge * details)
        return fused


class SegmentationHead(nn.Module):
    """3x3 and 1x1 convolution, each normalised and rectified before; the last gives the scores."""

    def __init__(self, channels_in: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.bn1(x)))
        scores: Tensor = self.conv2(F.relu(self.bn2(y)))
        return scores


class PIDNet(nn.Module):
    """PIDNet-S without its auxiliary heads: 7.6 M parameters, logits at 1/8.

    The input is ``(N, 3, H, W)`` float32, RGB, in ImageNet's normalisation; sides from 64 pixels. ``features`` gives
    z ``(N, 4 width, ceil(H/8), ceil(W/8))``, the three branches fused; ``logits`` is the segmentation head. The
    published evaluation resizes the logits with aligned corners, hence ``align_corners``.

    Args:
        num_classes: C.
        width: channels of the stem; 32 is the S of the paper.
    """

    align_corners = True
    stride = 8

    def __init__(self, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_channels = 4 * width
        w = width
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, w, 3, 2, 1),
            nn.BatchNorm2d(w),
            nn.ReLU(inplace=True),
            nn.Conv2d(w, w, 3, 2, 1),
            nn.BatchNorm2d(w),
            nn.ReLU(inplace=True),
        )
        # The integral branch, from 1/4 to 1/64.
        self.layer1 = _stage(w, w, 2)
        self.layer2 = _stage(w, 2 * w, 2, stride=2)
        self.layer3 = _stage(2 * w, 4 * w, 3, stride=2)
        self.layer4 = _stage(4 * w, 8 * w, 3, stride=2)
        self.layer5 = nn.Sequential(Bottleneck(8 * w, 8 * w, stride=2), Bottleneck(16 * w, 8 * w))
        self.spp = PAPPM(16 * w, 96, 4 * w)
        # The proportional branch: a trailing underscore in the published names.
        self.compression3 = conv_bn(4 * w, 2 * w)
        self.compression4 = conv_bn(8 * w, 2 * w)
        self.pag3 = PagFM(2 * w, w)
        self.pag4 = PagFM(2 * w, w)
        self.layer3_ = _stage(2 * w, 2 * w, 2)
        self.layer4_ = _stage(2 * w, 2 * w, 2)
        self.layer5_ = nn.Sequential(Bottleneck(2 * w, 2 * w))
        # The derivative branch: "_d".
        self.layer3_d = BasicBlock(2 * w, w, rectify=False)
        self.layer4_d = nn.Sequential(Bottleneck(w, w))
        self.layer5_d = nn.Sequential(Bottleneck(2 * w, 2 * w))
        self.diff3 = conv_bn(4 * w, w, kernel=3)
        self.diff4 = conv_bn(8 * w, 2 * w, kernel=3)
        self.dfm = LightBag(4 * w)
        self.final_layer = SegmentationHead(4 * w, 128, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images: Tensor) -> Tensor:
        shared = F.relu(self.layer2(F.relu(self.layer1(self.conv1(images)))))
        context = F.relu(self.layer3(shared))
        details = self.pag3(self.layer3_(shared), self.compression3(context))
        boundary = self.layer3_d(shared)
        boundary = boundary + _resize_like(self.diff3(context), boundary)

        context = F.relu(self.layer4(context))
        details = self.pag4(self.layer4_(F.relu(details)), self.compression4(context))
        boundary = self.layer4_d(F.relu(boundary))
        boundary = boundary + _resize_like(self.diff4(context), boundary)

        details = self.layer5_(F.relu(details))
        boundary = self.layer5_d(F.relu(boundary))
        context = _resize_like(self.spp(self.layer5(context)), boundary)
        fused: Tensor = self.dfm(details, context, boundary)
        return fused

    def logits(self, features: Tensor) -> Tensor:
        scores: Tensor = self.final_layer(features)
        return scores

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))


def published_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a published file under this network's names.

    Its training program wraps the network with its loss, hence ``model.`` before the names; what serves training
    alone (:data:`AUXILIARY`) is left out.
    """
    bare = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    return {name: tensor for name, tensor in bare.items() if not name.startswith(AUXILIARY)}


def _stage(channels_in: int, channels: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """Basic blocks of one resolution; the sum of the last stays unrectified."""
    layers = [BasicBlock(channels_in, channels, stride, rectify=blocks > 1)]
    layers += [BasicBlock(channels, channels, rectify=i < blocks - 1) for i in range(1, blocks)]
    return nn.Sequential(*layers)


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Sequential | None:
    return None if stride == 1 and channels_in == channels_out else conv_bn(channels_in, channels_out, stride=stride)


def _resize_like(x: Tensor, reference: Tensor) -> Tensor:
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=False)
