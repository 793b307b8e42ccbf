"""Re-estimation of batch-norm statistics on the target's frames.

Source: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016; the blend with the source's
statistics follows Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation",
NeurIPS 2020.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import Field
from torch import Tensor, nn

from stpl.config import Config


class BatchNormConfig(Config):
    enabled: bool = True
    frames: int = Field(64, ge=1)
    """Frames looked at, spread evenly over the video."""
    blend: float = Field(0.75, ge=0, le=1)
    """Share of the target's statistics in the result; the rest stays the source's."""


def batch_norm_layers(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The layers with running statistics; empty for networks without batch normalisation."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return [norm for norm in norms if norm.track_running_stats]


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor], blend: float) -> int:
    """Blends the target's statistics into every batch-norm layer, in place.

    A layer that is given one value a channel (a globally pooled context, and one image a batch) has no variance to
    estimate: there its own statistics stay.

    Args:
        batches: ``(N, 3, H, W)`` normalised images, each batch weighing the same.
        blend: share of the target's statistics, 0..1.

    Returns:
        The number of layers changed.
    """
    layers = batch_norm_layers(model)
    if not layers:
        return 0
    before = [(_mean(layer).clone(), _variance(layer).clone(), layer.momentum) for layer in layers]
    training = model.training
    model.eval()
    varied: set[nn.Module] = set()

    def estimate_where_it_varies(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        varies = inputs[0].numel() > inputs[0].shape[1]
        if varies and layer not in varied:
            # Not before: what follows a layer that never varies must be estimated under that layer's own statistics.
            assert isinstance(layer, nn.modules.batchnorm._BatchNorm)
            layer.reset_running_stats()
            varied.add(layer)
        layer.train(varies)

    for layer in layers:
        layer.momentum = None  # cumulative mean over the batches
    handles = [layer.register_forward_pre_hook(estimate_where_it_varies) for layer in layers]
    try:
        for images in batches:
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    for layer, (mean, variance, momentum) in zip(layers, before, strict=True):
        if layer in varied:
            _mean(layer).lerp_(mean, 1.0 - blend)
            _variance(layer).lerp_(variance, 1.0 - blend)
        layer.momentum = momentum
    model.train(training)
    return len(varied)


def _mean(layer: nn.modules.batchnorm._BatchNorm) -> Tensor:
    assert layer.running_mean is not None
    return layer.running_mean


def _variance(layer: nn.modules.batchnorm._BatchNorm) -> Tensor:
    assert layer.running_var is not None
    return layer.running_var
