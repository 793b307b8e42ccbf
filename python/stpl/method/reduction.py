"""Sums and means over the whole batch, wherever its parts are computed.

With several processes each sees a part of the batch. What depends on all of it (the running thresholds, the number
of anchors that a loss is averaged over) goes through here; with one process these functions change nothing. They
are collective: every process must come by in the same order, also one whose part holds nothing to count.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """The number of processes that share a batch; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this process is the one that writes, logs and shows progress; True without torch.distributed."""
    return process_count() == 1 or dist.get_rank() == 0


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if process_count() == 1:
        return
    if dist.get_backend() == dist.Backend.NCCL:
        # Where nothing has been exchanged yet, NCCL does not know which GPU is whose, and takes a guess.
        dist.barrier(device_ids=[torch.cuda.current_device()])
    else:
        dist.barrier()


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
