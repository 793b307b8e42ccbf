"""Which weights of a network what it computes depends on, found by asking autograd: it holds for any network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def reached_parameters(model: nn.Module, compute: Callable[[Tensor], Tensor], images: Tensor) -> list[nn.Parameter]:
    """The trainable parameters of ``model`` that ``compute`` depends on, in the model's order.

    Args:
        compute: a pass of the model, or a part of one, from ``images`` to a tensor, in the mode (training, evaluation)
            that the model is in.
        images: ``(N, 3, H, W)`` on the model's device; what they show does not matter.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        gradients = torch.autograd.grad(compute(images).sum(), parameters, allow_unused=True)
    return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is not None]
