"""ACCEL_DeepLabv2: the network of the domain-adaptive video segmentation benchmarks.

DeepLab v2 on ResNet-101 with a score fusion over two frames, as DA-VSN (D. Guan et al., ICCV 2021) and TPS (Y. Xing
et al., ECCV 2022) train and evaluate it on VIPER or SYNTHIA-Seq to Cityscapes-Seq; score fusion after Accel (S. Jain
et al., CVPR 2019). The names in its state dict are those of the released weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stpl.errors import UserError
from stpl.models.warp import warp

RESNET_101 = (3, 4, 23, 3)
_DILATIONS = (6, 12, 18, 24)
_EXPANSION = 4


class Bottleneck(nn.Module):
    """Caffe's residual bottleneck: the stride is in the first 1x1 convolution, not in the 3x3 one."""

    def __init__(self, channels_in: int, width: int, stride: int, dilation: int, project: bool) -> None:
        super().__init__()
        channels_out = _EXPANSION * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Sequential | None = None
        if project:
            shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + shortcut, inplace=True)


class Classifier(nn.Module):
    """DeepLab v2's pyramid of dilated convolutions: the sum of four 3x3 convolutions of dilation 6, 12, 18, 24."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv2d_list = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation) for dilation in _DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.conv2d_list
        scores: Tensor = first(x)
        for convolution in others:
            scores = scores + convolution(x)
        return scores


@dataclass(frozen=True)
class PairLogits:
    """Scores ``(N, C, h, w)`` for a frame and the frame before it.

    Attributes:
        main, aux: of the present frame, fused with the past; the benchmarks predict from ``main``.
        present_main, present_aux: of the present frame alone.
        past_main, past_aux: of the past frame alone, on its own grid, without gradients.
    """

    main: Tensor
    aux: Tensor
    present_main: Tensor
    present_aux: Tensor
    past_main: Tensor
    past_aux: Tensor


class AccelDeepLabV2(nn.Module):
    """DeepLab v2 on a dilated ResNet-101, with an auxiliary classifier and a fusion of two frames' scores.

    The input is ``(N, 3, H, W)`` float32; the released weights expect BGR in 0..255 minus (104.00698793,
    116.66876762, 122.67891434), no division. ``features`` gives z ``(N, 2048, h, w)``, ``logits`` decodes it by the
    main classifier to ``(N, num_classes, h, w)``; 512x1024 gives 65x129. ``forward`` is one frame's own scores, as
    adaptation and export use them; :meth:`fused_logits` is the benchmarks' prediction from a pair of frames.

    Two declared exceptions to this package's conventions, both the benchmarks' own:

    - ``align_corners`` is True: the corner pixels of the logits lie on the corner pixels of the image, so that
      logits are resized to image size bilinearly with ``align_corners=True``. Evaluation and export read it here.
    - :meth:`fuse` resizes flow with aligned corners and scales both its components by the ratio of the heights
      (:func:`flow_at_logits`), where the package scales each axis by its own. The warp itself is the package's, and
      TPS's: bilinear, coordinates clamped to the border. DA-VSN's release scatters rounded coordinates instead and
      leaves holes at zero; its weights load, but are evaluated with this warp.

    Args:
        num_classes: C.
        layers: residual blocks in each stage.
        width: channels of the stem; the features have 32 times as many.
        freeze_batch_norm: batch normalisation's weights and biases get no gradients, as in the benchmarks; its
            running statistics are still updated in training mode.
    """

    align_corners = True
    stride = 8

    def __init__(
        self,
        num_classes: int,
        layers: tuple[int, int, int, int] = RESNET_101,
        width: int = 64,
        freeze_batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_channels = 8 * _EXPANSION * width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        expanded = _EXPANSION * width
        self.layer1 = _stage(width, width, layers[0])
        self.layer2 = _stage(expanded, 2 * width, layers[1], stride=2)
        self.layer3 = _stage(2 * expanded, 4 * width, layers[2], dilation=2)
        self.layer4 = _stage(4 * expanded, 8 * width, layers[3], dilation=4)
        self.layer5 = Classifier(4 * expanded, num_classes)
        self.layer6 = Classifier(8 * expanded, num_classes)
        self.sf_layer = nn.Conv2d(2 * num_classes, num_classes, 1, bias=False)
        self._initialise(freeze_batch_norm)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer4(self._shallow(images))
        return features

    def logits(self, features: Tensor) -> Tensor:
        scores: Tensor = self.layer6(features)
        return scores

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))

    def fused_logits(self, present: Tensor, past: Tensor, flow: Tensor) -> PairLogits:
        """The benchmarks' prediction from a frame and the one before it.

        Args:
            present: frame t, ``(N, 3, H, W)``.
            past: frame t-1, alike; no gradient flows into its branch. Each frame passes through the network in a
                batch of its own, so that batch statistics of a training mode are those of the benchmarks.
            flow: ``(N, 2, H', W')``, on the grid of frame t, pointing into t-1, in pixels of its own grid.
        """
        present_main, present_aux = self._both_classifiers(present)
        with torch.no_grad():
            past_main, past_aux = self._both_classifiers(past)
        return PairLogits(
            main=self.fuse(present_main, past_main, flow),
            aux=self.fuse(present_aux, past_aux, flow),
            present_main=present_main,
            present_aux=present_aux,
            past_main=past_main,
            past_aux=past_aux,
        )

    def fuse(self, present: Tensor, past: Tensor, flow: Tensor) -> Tensor:
        """Scores of frame t joined with those of frame t-1, brought to it along the flow as the benchmarks do.

        Args:
            present, past: logits ``(N, C, h, w)``; main and auxiliary ones share the fusion's weights.
            flow: ``(N, 2, H', W')`` as for :meth:`fused_logits`.
        """
        flow = flow_at_logits(flow, present.shape[-2], present.shape[-1]).float()
        fused: Tensor = self.sf_layer(torch.cat((present, warp(past, flow)), dim=1))
        return fused

    def _shallow(self, images: Tensor) -> Tensor:
        """``(N, 1024, h, w)``, what the auxiliary classifier sees."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
        shallow: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return shallow

    def _both_classifiers(self, images: Tensor) -> tuple[Tensor, Tensor]:
        shallow = self._shallow(images)
        return self.layer6(self.layer4(shallow)), self.layer5(shallow)

    @torch.no_grad()
    def _initialise(self, freeze_batch_norm: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
            elif isinstance(module, nn.BatchNorm2d) and freeze_batch_norm:
                module.weight.requires_grad_(False)
                module.bias.requires_grad_(False)
        # At first the past has no say: the fused scores are the present frame's.
        self.sf_layer.weight.copy_(torch.eye(self.num_classes, 2 * self.num_classes)[:, :, None, None])


def flow_at_logits(flow: Tensor, height: int, width: int) -> Tensor:
    """Flow ``(N, 2, H, W)`` on the grid of the logits, by the benchmarks' rule.

    Resized bilinearly with aligned corners, then both components multiplied by ``height / H``: the horizontal one,
    too, by the ratio of the heights. :func:`stpl.models.warp.resize_flow` is this package's own rule.
    """
    resized = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=True)
    return resized * (height / flow.shape[-2])


def load_imagenet(model: AccelDeepLabV2, weights: Mapping[str, Tensor]) -> None:
    """Starts from ``DeepLab_resnet_pretrained_imagenet.pth``, the benchmarks' initialisation.

    Its names carry one leading component more than the network's; ``layer5`` in it is a classifier of another task
    and is left out. What the file lacks (classifiers, fusion, counters) keeps the network's own initial values.

    Args:
        model: the network, changed in place.
        weights: the file's tensors, as :func:`stpl.models.pth.read_state_dict` gives them.

    Raises:
        UserError: the file is for another network.
    """
    leading = {name.partition(".")[0] for name in weights}
    # Where the component was "module", reading the file has taken it off already.
    bare = {name.partition(".")[2] if len(leading) == 1 else name: tensor for name, tensor in weights.items()}
    found = {name: tensor for name, tensor in bare.items() if not name.startswith("layer5.")}
    expected = model.state_dict()
    heads = ("layer5.", "layer6.", "sf_layer.")
    lacking = [n for n in expected if n not in found and not n.startswith(heads) and not n.endswith("batches_tracked")]
    unfit = [n for n, tensor in found.items() if n not in expected or expected[n].shape != tensor.shape]
    if lacking or unfit:
        raise UserError(
            "expected ImageNet weights of ACCEL_DeepLabv2's ResNet-101 (DeepLab_resnet_pretrained_imagenet.pth); "
            f"found {len(lacking)} tensors missing and {len(unfit)} unknown or of another shape, "
            f"the first of them {(lacking + unfit)[0]!r}"
        )
    model.load_state_dict({**expected, **found})


def _stage(channels_in: int, width: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Residual blocks of one resolution; the first changes channels, and so has a projected shortcut."""
    first = Bottleneck(channels_in, width, stride, dilation, project=True)
    others = (Bottleneck(_EXPANSION * width, width, 1, dilation, project=False) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)
