"""Monotone tone curves, a look-up table for each channel: what input calibration chooses among."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Lut = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

NEUTRAL = 0.02
"""Channels whose exponents differ from 1 by less are balanced already."""
EXPONENTS = (0.5, 2.0)
"""Balancing goes no further: a wall of one colour is not a colour cast."""


@dataclass(frozen=True)
class ToneCurve:
    """``v -> v^(gamma * channel)`` on values 0..1.

    Attributes:
        gamma: below 1 brightens.
        channels: further exponents of red, green and blue; all 1 where the channels are not balanced.
    """

    gamma: float = 1.0
    channels: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def balanced(self) -> bool:
        return self.channels != (1.0, 1.0, 1.0)

    @property
    def identity(self) -> bool:
        return self.gamma == 1.0 and not self.balanced

    @property
    def name(self) -> str:
        if self.identity:
            return "as they are"
        if not self.balanced:
            return f"gamma {self.gamma:g}"
        return "balanced" if self.gamma == 1.0 else f"gamma {self.gamma:g}, balanced"

    def lut(self) -> Lut:
        """Look-up tables of R, G and B; monotone, 0 and 255 stay."""
        red, green, blue = (_table(self.gamma * exponent) for exponent in self.channels)
        return red, green, blue


def gamma_lut(gamma: float) -> Lut:
    """Look-up table ``round(255 (v / 255)^gamma)`` for all three channels; monotone, fixes 0 and 255."""
    return ToneCurve(gamma).lut()


def chain(first: Lut | None, then: Lut | None) -> Lut | None:
    """The table that applies ``first``, then ``then``; None stands for the identity."""
    if first is None or then is None:
        return first or then
    red, green, blue = (tuple(after[v] for v in before) for before, after in zip(first, then, strict=True))
    return red, green, blue


def balancing_exponents(frames: Iterable[NDArray[np.uint8]]) -> tuple[float, float, float]:
    """The exponent of each channel that brings its mean to the mean of all three (the grey-world assumption).

    Source: Buchsbaum, "A spatial processor model for object colour perception", 1980, with powers in place of gains,
    so that nothing is clipped.

    Args:
        frames: ``(H, W, 3)`` RGB.

    Returns:
        Exponents of R, G and B, within :data:`EXPONENTS`; all exactly 1 where the frames are balanced within
        :data:`NEUTRAL`, or black or white throughout.
    """
    means = np.mean([frame.reshape(-1, 3).mean(axis=0) for frame in frames], axis=0) / 255.0
    if means.min() <= 1 / 255 or means.max() >= 254 / 255:
        return (1.0, 1.0, 1.0)
    wanted = math.log(float(means.mean()))
    red, green, blue = (min(max(wanted / math.log(float(mean)), EXPONENTS[0]), EXPONENTS[1]) for mean in means)
    if max(abs(exponent - 1.0) for exponent in (red, green, blue)) < NEUTRAL:
        return (1.0, 1.0, 1.0)
    return red, green, blue


def candidate_curves(
    gammas: Sequence[float], balanced_gammas: Sequence[float], channels: tuple[float, float, float]
) -> list[ToneCurve]:
    """The identity, the other ``gammas``, and ``balanced_gammas`` with the channels balanced, each curve once."""
    plain = [ToneCurve(gamma) for gamma in (1.0, *gammas)]
    balanced = [ToneCurve(gamma, channels) for gamma in balanced_gammas]
    return list(dict.fromkeys([*plain, *balanced]))


def _table(exponent: float) -> tuple[int, ...]:
    levels = torch.linspace(0, 1, 256, dtype=torch.float64)
    return tuple(int(v) for v in (255.0 * levels**exponent).round())
