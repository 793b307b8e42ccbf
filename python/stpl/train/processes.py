"""The device, and the processes that share each batch.

Started alone, a command is one process. Started by ``accelerate launch`` or ``torchrun``, there are several, on one
machine or more; Hugging Face Accelerate then sets them up. All of them compute the same stages and hold the same
weights; only the main one writes, logs and shows progress.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stpl.errors import UserError
from stpl.method.reduction import all_reduce_sum, prepare_to_wait
from stpl.train.ahead import Fetched

if TYPE_CHECKING:
    from accelerate import Accelerator


class Processes:
    """This process's device and its place among all that share a batch.

    Attributes:
        device: where this process computes; a GPU has its number.
        count: the number of processes.
        index: this one's, 0 .. count-1; 0 is the main one.
    """

    def __init__(self, device: torch.device, accelerator: Accelerator | None = None) -> None:
        self.device = device
        self.count = accelerator.num_processes if accelerator is not None else 1
        self.index = accelerator.process_index if accelerator is not None else 0
        self._accelerator = accelerator

    @classmethod
    def start(cls, device: str = "auto") -> Processes:
        """Joins the other processes, where the launcher says that there are some; may be called again.

        Args:
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

        Raises:
            UserError: a GPU is asked for that is not there, or one and the same for several processes.
        """
        chosen = _choose_device(device)
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            if chosen.type == "cuda":
                chosen = _numbered(chosen)
                torch.cuda.set_device(chosen)
            return cls(chosen)
        if chosen.index is not None:
            raise UserError(f"device = {device}: expected cuda, a GPU for each process; found one for all of them")
        from accelerate import Accelerator, DistributedDataParallelKwargs

        # Unused parameters are looked for, as a network of the user's may leave a layer out of a step, which else would
        # be an error. It costs a walk over the graph; the host waits only where one is found.
        options = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        # Precision is the configuration's, not the launcher's, so that a run is what its config.yaml says.
        accelerator = Accelerator(cpu=chosen.type == "cpu", mixed_precision="no", kwargs_handlers=[options])
        prepare_to_wait()
        if not accelerator.is_main_process:
            logging.getLogger("stpl").setLevel(logging.WARNING)
        return cls(accelerator.device, accelerator)

    def share(self, module: nn.Module) -> nn.Module:
        """The module on this device, with gradients averaged over the processes; all start from the main one's."""
        module = module.to(self.device)
        if self._accelerator is None:
            return module
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)
        with warnings.catch_warnings():
            # PyTorch renames broadcast_buffers; Accelerate does not know the new name yet.
            warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            return cast(nn.Module, self._accelerator.prepare(module))

    def gradients(self, module: nn.Module, *, averaged: bool) -> AbstractContextManager[None]:
        """Around a forward and backward pass of a shared module: whether its gradients are averaged at once.

        Only the last of several accumulated passes needs to.
        """
        if self._accelerator is None or averaged:
            return nullcontext()
        return cast(AbstractContextManager[None], self._accelerator.no_sync(module))

    def mean(self, values: Tensor) -> Tensor:
        """The mean of every process's ``values``."""
        return all_reduce_sum(values) / self.count

    def any(self, flag: bool) -> Callable[[], bool]:
        """Whether any process says yes; every process must ask. The answer is waited for when it is called."""
        if self.count == 1:
            return lambda: flag
        total = Fetched(all_reduce_sum(torch.full((1,), float(flag), device=self.device)))
        return lambda: total.values()[0] > 0

    def same_text(self, text: str) -> str:
        """The main process's text, in all of them."""
        if self.count == 1:
            return text
        data = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(self.device)
        size = torch.tensor(data.numel(), device=self.device)
        dist.broadcast(size, 0)
        received = data if self.index == 0 else data.new_empty(int(size))
        dist.broadcast(received, 0)
        return bytes(received.tolist()).decode()

    def places(self, batch_size: int, parts: int) -> list[range]:
        """Which places of the whole batch, 0 .. batch_size-1, this process computes in each of its parts.

        Raises:
            UserError: the batch cannot be divided evenly.
        """
        size, rest = divmod(batch_size, parts * self.count)
        if rest or size == 0:
            over = " and ".join(
                f"{count} {what}" for count, what in ((self.count, "processes"), (parts, "parts")) if count > 1
            )
            raise UserError(
                f"batch_size = {batch_size}: expected a multiple of {parts * self.count}, to divide over {over}"
            )
        starts = [(part * self.count + self.index) * size for part in range(parts)]
        return [range(start, start + size) for start in starts]


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """The processes of one command; they part at its end."""
    started = Processes.start(device)
    try:
        yield started
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def _choose_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise UserError(
                f"device = {device}: expected a GPU that PyTorch {torch.__version__} can use; it finds {count} of them"
            )
    return chosen


def _numbered(gpu: torch.device) -> torch.device:
    """The GPU that PyTorch means where none is named, by its number: PyTorch refuses to be set to one without."""
    return gpu if gpu.index is not None else torch.device("cuda", torch.cuda.current_device())
