"""What adaptation, evaluation and export ask of a segmentation network."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class SegmentationModel(Protocol):
    """A network cut in two: an encoder E (``features``) and a decoder D (``logits``).

    Any :class:`torch.nn.Module` with these members will do; ``forward(images)`` must equal
    ``logits(features(images))``.
    """

    num_classes: int
    feature_channels: int

    def features(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` normalised images to features z ``(N, feature_channels, h, w)``."""
        ...

    def logits(self, features: Tensor) -> Tensor:
        """Features ``(N, feature_channels, h, w)`` to raw class scores ``(N, num_classes, h', w')``."""
        ...
