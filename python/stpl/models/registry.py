"""Architectures by name: how to build them, and how their published weights are named and fed.

Nothing is imported before it is asked for: SegFormer needs ``transformers``, and the user's own networks are code of
the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from stpl.errors import UserError, unknown_name
from stpl.models.compact import CompactNet
from stpl.models.factory import build_from_factory, is_factory, try_network

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class InputDefaults:
    """How frames are prepared for an architecture where nothing else is said; the terms of the bundle's manifest.

    Attributes:
        height, width: of the network's input.
        mean, std: in units of 0..255, in ``color_order``.
        filter: how frames are resized.
    """

    height: int = 240
    width: int = 320
    mean: tuple[float, float, float] = (123.7, 116.3, 103.5)
    std: tuple[float, float, float] = (58.4, 57.1, 57.4)
    color_order: Literal["rgb", "bgr"] = "rgb"
    filter: Literal["bilinear", "area"] = "area"


Names = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]
"""Brings the tensors of a published file (first) under the names of the network's own state dict (second)."""


@dataclass(frozen=True)
class Architecture:
    """A network that can be named.

    Attributes:
        build: from the number of classes, and options where it has some, to a network with random weights.
        input: what its published weights expect.
        names: from the names in published files to the network's own.
    """

    build: Callable[..., nn.Module]
    input: InputDefaults = InputDefaults()
    names: Names = lambda weights, _: dict(weights)


def _segformer(size: str | None) -> Architecture:
    def build(num_classes: int, **options: Any) -> nn.Module:
        from stpl.models.segformer import SIZES, SegFormer

        return SegFormer(num_classes, **({} if size is None else SIZES[size]), **options)

    def names(weights: Mapping[str, Tensor], _: Mapping[str, Tensor]) -> dict[str, Tensor]:
        from stpl.models.segformer import published_names

        return published_names(weights)

    return Architecture(build, InputDefaults(512, 1024, IMAGENET_MEAN, IMAGENET_STD), names)


def _pidnet() -> Architecture:
    def build(num_classes: int) -> nn.Module:
        from stpl.models.pidnet import PIDNet

        return PIDNet(num_classes)

    def names(weights: Mapping[str, Tensor], _: Mapping[str, Tensor]) -> dict[str, Tensor]:
        from stpl.models.pidnet import published_names

        return published_names(weights)

    return Architecture(build, InputDefaults(1024, 2048, IMAGENET_MEAN, IMAGENET_STD), names)


def _accel_deeplabv2() -> Architecture:
    def build(num_classes: int) -> nn.Module:
        from stpl.models.accel_deeplabv2 import AccelDeepLabV2

        return AccelDeepLabV2(num_classes)

    def names(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        from stpl.models.pth import with_batch_counters

        return with_batch_counters(weights, expected)

    mean = (104.00698793, 116.66876762, 122.67891434)  # of B, G and R
    return Architecture(build, InputDefaults(512, 1024, mean, (1.0, 1.0, 1.0), "bgr"), names)


MODELS: dict[str, Architecture] = {
    "compact": Architecture(CompactNet),
    "pidnet-s": _pidnet(),
    "accel_deeplabv2": _accel_deeplabv2(),
    "segformer": _segformer(None),
    **{f"segformer-b{i}": _segformer(f"segformer-b{i}") for i in range(6)},
}


def architecture(name: str) -> Architecture:
    """The architecture of this name; ``package.module:factory`` names the user's own.

    Raises:
        UserError: no architecture has this name.
    """
    if is_factory(name):
        return Architecture(lambda num_classes: build_from_factory(name, num_classes))
    if name not in MODELS:
        raise unknown_name("model", name, [*MODELS, "package.module:factory"])
    return MODELS[name]


_tried: set[tuple[str, int, tuple[int, int]]] = set()


def build_model(
    name: str, num_classes: int, options: Mapping[str, Any] | None = None, *, size: tuple[int, int] | None = None
) -> nn.Module:
    """A network with random weights; satisfies :class:`stpl.models.protocol.SegmentationModel`.

    Args:
        name: of :data:`MODELS`, or ``package.module:factory``, which imports and runs the user's code.
        options: of architectures that come in sizes (``segformer``).
        size: (height, width) of images it will see. The user's own network is tried on one of them, once.

    Raises:
        UserError: no model has this name, it has no such options, or the user's factory does not give a network as
            the protocol describes it.
    """
    options = dict(options or {})
    if options and not name.startswith("segformer"):
        raise UserError(f"model '{name}': expected no options; found {', '.join(options)}")
    network = architecture(name).build(num_classes, **options)
    if size is not None and is_factory(name) and (name, num_classes, size) not in _tried:
        try_network(network, name, *size)
        _tried.add((name, num_classes, size))
    return network
