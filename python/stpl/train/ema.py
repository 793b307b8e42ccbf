"""The teacher: an exponential moving average of the student's weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def make_teacher(student: nn.Module) -> nn.Module:
    """A copy of the student that takes no gradients and stays in evaluation mode."""
    return copy.deepcopy(student).eval().requires_grad_(False)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """``teacher = decay * teacher + (1 - decay) * student``; integer buffers are copied."""
    followed: list[tuple[Tensor, Tensor]] = []
    for old, new in zip(_tensors(teacher), _tensors(student), strict=True):
        if old.is_floating_point():
            followed.append((old, new))
        else:
            old.copy_(new)
    olds, news = (list(tensors) for tensors in zip(*followed, strict=True))
    torch._foreach_lerp_(olds, news, 1.0 - decay)  # together, as on a GPU each alone costs as much to launch


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Weights and buffers; one under two names comes once."""
    yield from network.parameters()
    yield from network.buffers()
