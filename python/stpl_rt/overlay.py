"""Label maps as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def colorize(labels: Pixels, colors: Sequence[Sequence[int]] | npt.NDArray[Any]) -> Pixels:
    """Paint each class id in its colour.

    Args:
        labels: uint8 (H, W) class ids.
        colors: one RGB colour a class, 0..255 (``[c.color for c in bundle.classes]``).

    Returns:
        uint8 (H, W, 3) RGB; ids without a colour, such as 255, are black.

    Raises:
        ValueError: for labels or colours of another type or shape.
    """
    _check(labels, "labels", ndim=2, expected="(H, W)")
    palette = np.asarray(colors)
    if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) > 256:
        raise ValueError(f"colors: expected (C, 3) with C <= 256, found {palette.shape}")
    if palette.min(initial=0) < 0 or palette.max(initial=0) > 255:
        raise ValueError(f"colors: expected values in 0..255, found {palette.min()}..{palette.max()}")
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[labels]


def overlay(
    frame: Pixels, labels: Pixels, colors: Sequence[Sequence[int]] | npt.NDArray[Any], alpha: float = 0.5
) -> Pixels:
    """Blend the painted labels over the frame; pixels without a class keep the frame's colour.

    Args:
        frame: uint8 (H, W, 3) RGB.
        labels: uint8 (H, W) class ids.
        colors: one RGB colour a class, 0..255.
        alpha: weight of the labels, 0..1.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ValueError: for arguments of another type, shape or range.
    """
    _check(frame, "frame", ndim=3, expected="(H, W, 3)")
    if frame.shape != (*labels.shape, 3):
        raise ValueError(f"expected a frame {(*labels.shape, 3)} for labels {labels.shape}, found {frame.shape}")
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha: expected 0..1, found {alpha}")
    weight = round(alpha * 256)
    # Integers: on video this is a third of the time of floating point.
    mixed = (frame.astype(np.uint16) * (256 - weight) + colorize(labels, colors).astype(np.uint16) * weight) >> 8
    classless = labels >= len(colors)
    return np.where(classless[..., None], frame, mixed.astype(np.uint8))


def _check(array: Pixels, name: str, *, ndim: int, expected: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != ndim:
        found = f"{array.shape} {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name}: expected {expected} uint8, found {found}")
