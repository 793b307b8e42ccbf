"""What adaptation, evaluation and export ask of a segmentation network."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class SegmentationModel(Protocol):
    """A network cut in two: an encoder E (``features``) and a decoder D (``logits``).

    Any :class:`torch.nn.Module` with these members will do; ``forward(images)`` must equal
    ``logits(features(images))``. A network whose logits' outermost pixel centres lie on those of the image
    (``F.interpolate(…, align_corners=True)``) says so by an attribute ``align_corners = True``; without it the
    logits' edges lie on the image's.
    """

    num_classes: int
    feature_channels: int

    def features(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` normalised images to features z ``(N, feature_channels, h, w)``."""
        ...

    def logits(self, features: Tensor) -> Tensor:
        """Features ``(N, feature_channels, h, w)`` to raw class scores ``(N, num_classes, h', w')``."""
        ...


def aligns_corners(model: nn.Module) -> bool:
    """How a network's logits lie on its input; the same word as in bundles and in ``stpl_rt.sample_argmax``."""
    return bool(getattr(model, "align_corners", False))
