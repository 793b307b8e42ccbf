"""A device that is not there: tensors that say they are on it compute on the CPU, and what a GPU would be waited for
is an error.

A tensor on it is a :class:`Distant`, which holds the tensor that it stands for. As long as :func:`watched` is open,
an operation that reads a distant tensor's numbers to know what to do next (``item``, ``nonzero``, a selection by a
mask, ``bincount``), or that copies between host and device and does not return at once, raises :class:`HostWaitsError`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
"""What distant tensors say: of the devices that PyTorch knows without a driver, one that trains nothing here."""
HOST = torch.device("cpu")

aten = torch.ops.aten
READS = {
    packet
    for name in (
        "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim",
        "unique_consecutive", "unique_dim_consecutive", "bincount", "histc", "repeat_interleave", "allclose",
        "argwhere",
    )
    if (packet := getattr(aten, name, None)) is not None
}  # fmt: skip
"""Operations whose result's shape, or whose result on the host, follows from the numbers."""
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
COPIES = {aten._to_copy, aten.copy_, aten.copy}


class HostWaitsError(AssertionError):
    """The host would wait for a GPU."""


class Distant(Tensor):
    """Stands for ``here``, a tensor on the CPU, and says that it is on :data:`DEVICE`."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Distant:
        made: Distant = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )
        made.here = here
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {}, watching=False)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Distant({tuple(self.shape)})"


def dispatched(func: Any, args: Any, kwargs: dict[str, Any], *, watching: bool) -> Any:
    """What the operation gives on the CPU, distant where its tensors or its ``device`` are."""
    distant = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Distant)]
    device = kwargs.get("device")
    there = device.type == DEVICE.type if device is not None else bool(distant)
    if watching:
        why = waits(func, args, kwargs, distant, there)
        if why:
            raise HostWaitsError(f"{func}: {why}, at {_our_line()}")
    plain_kwargs = {**kwargs, "device": HOST} if device is not None else kwargs
    plain_args, plain_kwargs = tree_map(
        lambda leaf: leaf.here if isinstance(leaf, Distant) else leaf, (args, plain_kwargs)
    )
    result = func(*plain_args, **plain_kwargs)
    if func.overloadpacket is aten._to_copy and device is not None and result is plain_args[0]:
        result = result.clone()
    return _given_back(func, args, kwargs, result, there)


def _given_back(func: Any, args: Any, kwargs: dict[str, Any], result: Any, there: bool) -> Any:
    """The result with tensors on the right device; what was changed in place, or written to, is itself again."""
    changed = {
        id(given.here): given for given in tree_leaves((args, kwargs)) if isinstance(given, Distant)
    } if func._schema.is_mutable else {}  # fmt: skip

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or isinstance(leaf, Distant):
            return leaf
        if id(leaf) in changed:
            return changed[id(leaf)]
        return Distant(leaf) if there else leaf

    return tree_map(one, result)


def waits(func: Any, args: Any, kwargs: dict[str, Any], distant: list[Distant], there: bool) -> str:
    """Why a GPU would be waited for; empty where it would not."""
    packet = func.overloadpacket
    if any(
        isinstance(leaf, Tensor) and leaf.is_meta and not isinstance(leaf, Distant)
        for leaf in tree_leaves((args, kwargs))
    ):
        return "numbers were brought to the device from the host"  # torch.tensor(..., device=...) comes not by here
    if distant and packet in READS:
        return "its result follows from the numbers"
    if (
        distant
        and packet in INDEXED
        and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in tree_leaves(args[1])
        )
    ):
        return "a selection by a mask"
    if packet in COPIES:
        source = args[1] if packet is not aten._to_copy else args[0]
        target_there = isinstance(args[0], Distant) if packet is not aten._to_copy else there
        if isinstance(source, Distant) != target_there:
            asynchronous = kwargs.get(
                "non_blocking", args[2] if packet is not aten._to_copy and len(args) > 2 else False
            )
            if not asynchronous or not (source.is_pinned_here if hasattr(source, "is_pinned_here") else False):
                return "a copy between host and device that is waited for"
    return ""


def _our_line() -> str:
    """The innermost line of the project that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        if "/stpl/" in frame.f_code.co_filename:
            return f"{frame.f_code.co_filename.split('/stpl/')[-1]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "a line of another's"


class _Mode(TorchDispatchMode):
    watching = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatched(func, args, kwargs or {}, watching=self.watching)


@contextmanager
def distant_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """:data:`DEVICE` as one that computes; gives :func:`watched`, within which the host must not wait for it."""
    autocast = torch.autocast

    class Autocast(autocast):  # type: ignore[misc, valid-type]
        def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
            super().__init__("cpu" if device_type == DEVICE.type else device_type, *args, **kwargs)

    def pinned(tensor: Tensor) -> Tensor:
        copy = tensor.clone()
        copy.is_pinned_here = True  # type: ignore[attr-defined]
        return copy

    tolist = Tensor.tolist

    def as_list(tensor: Tensor) -> Any:
        if isinstance(tensor, Distant) and mode.watching:
            raise HostWaitsError(f"tolist: its result is the numbers, at {_our_line()}")
        return tolist(tensor.here if isinstance(tensor, Distant) else tensor)

    moved = nn.Module.to

    def module_to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        tensors = [*module.parameters(), *module.buffers()]
        there = all(isinstance(tensor, Distant) for tensor in tensors)
        # Weights are replaced as they become distant: once they are, they must stay those that the optimiser has.
        return module if tensors and there else moved(module, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "to", module_to)
    monkeypatch.setattr(Tensor, "tolist", as_list)
    monkeypatch.setattr(torch, "autocast", Autocast)
    monkeypatch.setattr(Tensor, "pin_memory", pinned)
    overwriting = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a weight cannot become distant in its place
    mode = _Mode()

    @contextmanager
    def watched() -> Iterator[None]:
        mode.watching = True
        try:
            yield
        finally:
            mode.watching = False

    try:
        with mode:
            yield watched
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwriting)
