"""Frames of an unsteady camera: any size, format and layout, damaged now and then; drawn from a seed, made from a line.

A `Shot` says everything of a frame, so that a stretch of video can be played again, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]

SIZES: tuple[Size, ...] = (
    (192, 320),
    (192, 320),
    (192, 320),
    (96, 160),
    (41, 67),
    (1, 1),
    (1, 9),
    (240, 426),
    (720, 1280),
)
"""Heights and widths; the first ones more often."""
FORMATS = ("rgb", "rgb", "bgr", "gray", "nv12", "i420")
LAYOUTS = ("packed", "packed", "gaps", "mirrored", "columns", "readonly")
MOMENTS = 12


@dataclass(frozen=True)
class Shot:
    """A frame and what is pushed with it.

    Attributes:
        damage: seed of a block of noise over it; None: sound.
        flow: seed of flow from elsewhere; None: the runtime's own.
    """

    size: Size
    moment: int
    pixel_format: str = "rgb"
    layout: str = "packed"
    damage: int | None = None
    flow: int | None = None
    timestamp: float | None = None

    def arguments(self) -> dict[str, Any]:
        """What push() and submit() take."""
        given: dict[str, Any] = {"frame": frame(self), "timestamp": self.timestamp}
        given["format"] = "rgb" if self.pixel_format == "gray" else self.pixel_format
        if self.flow is not None:
            random = np.random.default_rng(self.flow)
            given["flow"] = (random.standard_normal((*random.integers(1, 60, 2), 2)) * 3).astype(np.float32)
        return given

    def labels_shape(self) -> Size:
        return even(self.size) if is_yuv(self.pixel_format) else self.size


def is_yuv(pixel_format: str) -> bool:
    return pixel_format in ("nv12", "i420")


def even(size: Size) -> Size:
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def all_kinds() -> list[Shot]:
    """A shot of each size and format, the largest last; also draws what the other moments show."""
    for size in set(SIZES):
        for moment in range(MOMENTS):
            picture(size, moment), picture(even(size), moment)
    return [Shot(size, 0, kind) for size in sorted(set(SIZES)) for kind in sorted(set(FORMATS))]


@cache
def picture(size: Size, moment: int) -> Pixels:
    """(H, W, 3) of a smooth scene that moves by 2 pixels right and 1 down a moment."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    u, v = x - 2 * moment, y - moment
    texture = 24 * np.sin(0.31 * u + 0.12 * v) + 24 * np.sin(0.29 * v - 0.17 * u)
    blobs = [60 * np.sin(0.071 * u + 2.1 * c) * np.cos(0.093 * v + 1.3 * c) for c in range(3)]
    pixels = np.stack([124 + blob + texture for blob in blobs], axis=-1).clip(0, 255).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


def frame(shot: Shot) -> Pixels:
    """The array of a shot, in memory as its layout says."""
    size = even(shot.size) if is_yuv(shot.pixel_format) else shot.size
    pixels = picture(size, shot.moment % MOMENTS)
    if shot.pixel_format == "bgr":
        pixels = pixels[..., ::-1]
    elif shot.pixel_format == "gray":
        pixels = pixels[..., 1]
    elif is_yuv(shot.pixel_format):
        # Chroma of half the height: any bytes will do.
        pixels = np.concatenate([pixels[..., 1], pixels[: size[0] // 2, :, 2]])
    if shot.damage is not None:
        pixels = damaged(pixels, shot.damage)
    return laid_out(pixels, shot.layout)


def damaged(pixels: Pixels, seed: int) -> Pixels:
    random = np.random.default_rng(seed)
    copy: Pixels = pixels.copy()
    rows = random.integers(0, pixels.shape[0], 2)
    block = copy[min(rows) : max(rows) + 1]
    block[...] = random.integers(0, 256, block.shape, dtype=np.uint8)
    return copy


def laid_out(pixels: Pixels, layout: str) -> Pixels:
    packed: Pixels
    if layout == "gaps":
        wide = np.zeros((pixels.shape[0], pixels.shape[1] + 5, *pixels.shape[2:]), np.uint8)
        inside: Pixels = wide[:, 2:-3]
        inside[...] = pixels
        return inside
    if layout == "mirrored":
        packed = np.ascontiguousarray(pixels[::-1])
        return packed[::-1]
    if layout == "columns":
        return np.asfortranarray(pixels)
    packed = np.ascontiguousarray(pixels)
    if layout == "readonly":
        packed = packed.copy()
        packed.flags.writeable = False
    return packed


def next_shot(shot: Shot, random: np.random.Generator) -> Shot:
    """What an unsteady camera sends after `shot`: mostly the next moment, and everything else that may come."""
    size, pixel_format = shot.size, shot.pixel_format
    if random.random() < 0.02:
        size = SIZES[random.integers(len(SIZES))]
    if random.random() < 0.02:
        pixel_format = FORMATS[random.integers(len(FORMATS))]
    moment = shot.moment + int(random.choice([1, 1, 1, 1, 1, 0, 2, 7]))  # frames come twice, or are dropped
    time = shot.timestamp if shot.timestamp is not None else 0.0
    time += float(
        random.choice([0.033, 0.033, 0.034, 0.066, 0.5, 0.0, -3.0], p=[0.4, 0.3, 0.2, 0.05, 0.03, 0.01, 0.01])
    )
    return Shot(
        size,
        moment,
        pixel_format,
        layout=LAYOUTS[random.integers(len(LAYOUTS))],
        damage=int(random.integers(1 << 30)) if random.random() < 0.05 else None,
        flow=int(random.integers(1 << 30)) if random.random() < 0.05 else None,
        timestamp=time if random.random() < 0.9 else None,
    )
