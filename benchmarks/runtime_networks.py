"""What the runtime's timings run on: bundles of networks with random weights, and a generated street.

What a network says costs it no time, so its weights need no training; the mIoU that stands beside a timing comes from a
trained one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle
from pathlib import Path

import torch

import stpl_rt
from stpl.data.classes import ClassSet
from stpl.data.dataset import Image
from stpl.models.registry import architecture, build_model
from stpl.train.checkpoint import FILE_NAME, Checkpoint, InputConfig, load_checkpoint

# What exports and draws is imported where it is used: a machine that bundles were carried to need not have it.

FOLDER = Path(__file__).resolve().parent.parent / "runs" / "bench" / "networks"
ARCHITECTURES = ("compact", "segformer-b0", "pidnet-s")
SIZES = ((512, 256), (1024, 512))
"""Of the networks' inputs: width, height."""
CLASSES = 19


def random_checkpoint(arch: str, size: tuple[int, int], classes: int = CLASSES) -> Checkpoint:
    """The network with the weights of seed 0, its input ``size`` = (width, height)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = build_model(arch, classes).state_dict()
    colors = tuple((i, 255 - i, 7 * i % 256) for i in range(classes))
    wanted = architecture(arch).input
    width, height = size
    config = InputConfig(height=height, width=width, mean=wanted.mean, std=wanted.std, filter="bilinear")
    return Checkpoint(arch, ClassSet(tuple(f"class {i}" for i in range(classes)), colors), config, weights)


def carried_name(arch: str, size: tuple[int, int], precision: str) -> str:
    """Of the folder of a bundle that is carried to another machine; it depends on no library's version."""
    return f"{arch}-{size_name(size)}-{precision}"


def is_carried(folder: Path) -> bool:
    return (folder / "bundle" / "manifest.json").is_file()


def carried_checkpoint(folder: Path) -> Checkpoint:
    """The network of such a folder. Where its checkpoint was left behind, one that costs as much: the name says which.

    Another version of PyTorch may draw other weights from seed 0 than the bundle has.
    """
    if (folder / FILE_NAME).is_file():
        return load_checkpoint(folder / FILE_NAME)
    arch, size, _ = folder.name.rsplit("-", 2)
    return random_checkpoint(arch, read_size(size))


def random_bundle(arch: str, size: tuple[int, int], classes: int = CLASSES, precision: str = "f32") -> stpl_rt.Bundle:
    """Its bundle, exported where it does not lie under runs/bench/networks yet; of ``f16`` every layer is lowered."""
    from stpl.export import export_bundle
    from stpl.export.lowering import Lowering

    checkpoint = random_checkpoint(arch, size, classes)
    stored = "" if precision == "f32" else f"-{precision}"
    folder = FOLDER / f"{arch}-{classes}-{size[0]}x{size[1]}{stored}-{checkpoint.digest}"
    if not (folder / "manifest.json").is_file():
        frames = street(size, 1)
        lowering = Lowering("fp16", [(frames[0], None)], max_loss=1.0) if precision == "f16" else None
        export_bundle(checkpoint, folder, frames, name=arch, lowering=lowering)
    return stpl_rt.Bundle.open(folder)


def trained_bundle(path: Path, size: tuple[int, int]) -> stpl_rt.Bundle:
    """The bundle of a checkpoint of ours at another input size, exported where it does not lie there yet."""
    from stpl.export import export_bundle

    checkpoint = load_checkpoint(path)
    width, height = size
    folder = FOLDER / f"{checkpoint.arch}-trained-{size_name(size)}-{checkpoint.digest}"
    if not (folder / "manifest.json").is_file():
        export_bundle(checkpoint, folder, street(size, 1), size=(height, width), name=checkpoint.arch)
    return stpl_rt.Bundle.open(folder)


@lru_cache(maxsize=4)
def street(size: tuple[int, int], frames: int) -> list[Image]:
    """Consecutive frames of a generated street at 30 frames/s, (width, height) pixels each."""
    from stpl.data.specs import open_dataset

    width, height = size
    spec = f"synthstreet:?domain=day&seed=7&sequences=1&frames={frames}&fps=30&size={height}x{width}"
    data = open_dataset(spec)
    return [data.frame(index) for index in range(frames)]


def there_and_back(frames: list[Image]) -> Iterator[Image]:
    """The frames without end and without a cut: forwards, backwards, forwards..."""
    return cycle(frames + frames[-2:0:-1])


def size_name(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def read_size(text: str) -> tuple[int, int]:
    """``WxH``, for argparse."""
    width, _, height = text.partition("x")
    return int(width), int(height)
