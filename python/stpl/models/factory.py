"""The user's own networks, named ``package.module:factory``.

Naming a factory imports the user's code and runs it. That is the user's decision: a name comes from the command line
or from a caller, never from a checkpoint (:func:`stpl.train.checkpoint.load_checkpoint` refuses that).
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stpl.errors import UserError

ADDRESS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
EXPECTED = (
    "a torch.nn.Module with num_classes, feature_channels, features(images) and logits(features); see docs/models.md"
)


def is_factory(name: str) -> bool:
    """Whether an architecture's name is the address of a factory."""
    return ":" in name


def build_from_factory(address: str, num_classes: int) -> nn.Module:
    """Imports ``package.module`` and calls ``factory(num_classes)``.

    Modules in the current folder are found, too, after the installed ones. A network without ``forward`` gets
    ``logits(features(images))``.

    Raises:
        UserError: not an address, nothing of that name, or what comes out is not a network as
            :class:`stpl.models.protocol.SegmentationModel` describes it. Errors inside the user's code come through
            as they are.
    """
    network = load_factory(address)(num_classes)
    if not isinstance(network, nn.Module):
        raise UserError(f"{address}({num_classes}): expected {EXPECTED}; found a {type(network).__name__}")
    for member in ("features", "logits"):
        if not callable(getattr(network, member, None)):
            raise UserError(f"{address}: expected {EXPECTED}; {type(network).__name__} has no method {member}()")
    for member in ("num_classes", "feature_channels"):
        value = getattr(network, member, None)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            found = "none" if value is None else repr(value)
            raise UserError(f"{address}: expected {type(network).__name__}.{member}, a positive number; found {found}")
    if network.num_classes != num_classes:
        raise UserError(
            f"{address}({num_classes}): expected a network of {num_classes} classes; its num_classes is "
            f"{network.num_classes}"
        )
    return _with_forward(network)


def load_factory(address: str) -> Callable[[int], Any]:
    """The function that ``package.module:factory`` names."""
    if not ADDRESS.fullmatch(address):
        raise UserError(f"model '{address}': expected package.module:factory, as in own_model:build")
    module_name, _, attribute = address.partition(":")
    with _current_folder_importable():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # Another module's absence is a fault inside the user's own code.
            if error.name is None or not (module_name + ".").startswith(error.name + "."):
                raise
            raise UserError(
                f"model '{address}': no module '{error.name}'; expected it installed, or in the current folder"
            ) from None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UserError(f"model '{address}': expected a function '{attribute}' in {module.__file__}; found none")
    found: Callable[[int], Any] = factory
    return found


@torch.no_grad()
def try_network(network: nn.Module, address: str, height: int, width: int) -> None:
    """Runs one black image of ``height`` x ``width`` through a network in evaluation mode and looks at the shapes.

    Raises:
        UserError: features, logits or forward are not what the protocol says.
    """
    num_classes, channels = int(network.num_classes), int(network.feature_channels)  # type: ignore[arg-type]
    training = network.training
    network.eval()
    try:
        features = network.features(torch.zeros(1, 3, height, width))  # type: ignore[operator]
        _require_map(f"{address}: features(images) for one image of {height}x{width}", features, channels)
        logits = network.logits(features)  # type: ignore[operator]
        _require_map(f"{address}: logits(features)", logits, num_classes)
        whole = network(torch.zeros(1, 3, height, width))
        _require_map(f"{address}: forward(images)", whole, num_classes)
        if whole.shape != logits.shape or not torch.allclose(whole, logits, rtol=1e-4, atol=1e-4):
            raise UserError(
                f"{address}: expected forward(images) to equal logits(features(images)); they differ "
                f"(shapes {tuple(whole.shape)} and {tuple(logits.shape)})"
            )
    finally:
        network.train(training)


def _require_map(what: str, found: Any, channels: int) -> None:
    if not isinstance(found, Tensor):
        raise UserError(f"{what}: expected a tensor (1, {channels}, h, w); found a {type(found).__name__}")
    if found.ndim != 4 or found.shape[:2] != (1, channels) or not found.is_floating_point():
        raise UserError(
            f"{what}: expected floating-point numbers of shape (1, {channels}, h, w); found {tuple(found.shape)} "
            f"of {str(found.dtype).removeprefix('torch.')}"
        )


def _with_forward(network: nn.Module) -> nn.Module:
    kind = type(network)
    if kind.forward is nn.Module.forward:
        # A subclass rather than an attribute of the instance: copies of the network call their own parts.
        network.__class__ = type(kind.__name__, (kind,), {"forward": _forward, "__module__": kind.__module__})
    return network


def _forward(self: Any, images: Tensor) -> Tensor:
    scores: Tensor = self.logits(self.features(images))
    return scores


@contextmanager
def _current_folder_importable():  # type: ignore[no-untyped-def]
    folder = str(Path.cwd())
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
