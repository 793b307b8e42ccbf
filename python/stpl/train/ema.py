"""The teacher: an exponential moving average of the student's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


def make_teacher(student: nn.Module) -> nn.Module:
    """A copy of the student that takes no gradients and stays in evaluation mode."""
    return copy.deepcopy(student).eval().requires_grad_(False)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """``teacher = decay * teacher + (1 - decay) * student``; integer buffers are copied."""
    moved: set[int] = set()
    for old, new in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True):
        if old.data_ptr() in moved:  # a weight under two names moves once
            continue
        moved.add(old.data_ptr())
        if old.is_floating_point():
            old.lerp_(new, 1.0 - decay)
        else:
            old.copy_(new)
