"""What keeps a GPU from waiting for the host and the host from waiting for a GPU: copies both ways beside the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stpl.data.batches import PairBatch

STEPS_AHEAD = 2
"""Steps that the host may have handed to a GPU and not yet heard of."""


def steps_ahead(device: torch.device) -> int:
    """Steps that may be begun on ``device`` before the losses of one are asked for."""
    return STEPS_AHEAD if device.type == "cuda" else 0


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor``, which lies on the host, on ``device``; the copy to a GPU is not waited for."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


class Fetched:
    """Numbers on their way from a device to the host; on a CPU they are there.

    Args:
        numbers: ``(N,)``, as they will be once the device has done what it was given so far.
    """

    def __init__(self, numbers: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        self._numbers = numbers.detach()
        if numbers.device.type == "cuda":
            self._numbers = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self._numbers.copy_(numbers.detach(), non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def values(self) -> list[float]:
        """The numbers; waits until they have arrived, and for nothing that was given to the device later."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [float(number) for number in self._numbers.tolist()]


def on_device(
    batches: Iterator[Sequence[PairBatch]], device: torch.device, *, channels_last: bool = True
) -> Iterator[list[PairBatch]]:
    """The batches on ``device``; to a GPU each is copied while it still computes with the one before.

    Args:
        batches: in pinned memory, where ``device`` is a GPU.
    """
    if device.type != "cuda":
        for parts in batches:
            yield [part.to(device, channels_last=channels_last) for part in parts]
        return
    copies = torch.cuda.Stream(device)

    computing = torch.cuda.current_stream(device)
    for parts in batches:
        with torch.cuda.stream(copies):
            moved = [part.to(device, channels_last=channels_last) for part in parts]
        computing.wait_stream(copies)
        for part in moved:
            for tensor in (part.present, part.past, part.flow):
                # The copies' stream gave the memory: it must not have it again before the computing is done with it.
                tensor.record_stream(computing)
        yield moved
