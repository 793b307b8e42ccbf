"""Sums and means over the whole batch, wherever its parts are computed.

With several processes each sees a part of the batch. What depends on all of it (the running thresholds, the number
of anchors that a loss is averaged over) goes through here; with one process these functions change nothing. They
are collective: every process must come by in the same order, also one whose part holds nothing to count.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

import torch
import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """The number of processes that share a batch; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process is the one that writes, logs and shows progress; True without torch.distributed."""
    return process_count() == 1 or dist.get_rank() == 0


PATIENCE = timedelta(days=1)
"""How long :func:`wait_for_all` does: the main process alone trains accel mode, and shows its snapshots."""


def wait_for_all() -> None:
    """Returns when every process has come here, however long that is."""
    if process_count() > 1:
        dist.barrier(_waiting_group(dist.group.WORLD))


def prepare_to_wait() -> None:
    """Every process comes by before one of them is late for :func:`wait_for_all`."""
    if process_count() > 1:
        _waiting_group(dist.group.WORLD)


@lru_cache(maxsize=1)
def _waiting_group(_world: object) -> dist.ProcessGroup | None:
    """Beside that of the gradients, whose exchange fails within minutes where a process is lost. On the CPU, where it
    needs no GPU to be each process's own yet."""
    group: dist.ProcessGroup | None = dist.new_group(backend="gloo", timeout=PATIENCE)
    return group


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of every process's ``tensor`` (same shape and type everywhere), without gradients."""
    tensor = tensor.detach()
    if process_count() == 1:
        return tensor
    total = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def batch_mean(total: Tensor, count: Tensor | float) -> Tensor:
    """The mean over the whole batch, from this process's sum and number of terms.

    Args:
        total: scalar with gradients: the sum of this process's terms.
        count: how many they are (or their weights' sum), as a number or a scalar.

    Returns:
        Scalar with gradients. Its mean over the processes (what averaging gradients takes) is the sum of all terms
        over their number: the loss of one process with the whole batch. 0 where there is no term at all.
    """
    # Doubles: sums of soft weights, and exact for any number of pixels.
    if isinstance(count, Tensor):
        count = count.to(torch.float64)
    else:  # filled on the device: a number brought there from the host would have to be waited for
        count = torch.full((), count, dtype=torch.float64, device=total.device)
    terms = all_reduce_sum(count)
    return total * (process_count() / terms.clamp_min(1.0)).to(total.dtype)
