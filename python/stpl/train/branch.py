"""Student and teacher as an objective calls them: compiled if asked for, and visible in a profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function


class Branch:
    """Calls a network's two halves; everything else it is asked for is the network's own.

    The network itself stays as it is, so that copies of it are whole and its state dict keeps its names.

    Args:
        model: a module that is a :class:`stpl.models.protocol.SegmentationModel`.
        label: what a profile calls its passes.
        compiled: whether they go through :func:`torch.compile`.
    """

    num_classes: int
    feature_channels: int

    def __init__(self, model: Any, label: str, *, compiled: bool = False) -> None:
        self.model = model
        self._label = label
        self._features: Callable[[Tensor], Tensor] = model.features
        self._logits: Callable[[Tensor], Tensor] = model.logits
        if compiled:
            self._features, self._logits = torch.compile(self._features), torch.compile(self._logits)

    def features(self, images: Tensor) -> Tensor:
        with record_function(self._label):
            return self._features(images)

    def logits(self, features: Tensor) -> Tensor:
        with record_function(self._label):
            return self._logits(features)

    def __call__(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)
