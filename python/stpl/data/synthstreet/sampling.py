"""Reading the texture atlas at many points at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .dice import Dice
from .textures import LEVELS, SIDE, SIZE, atlas, noise

Values = NDArray[np.float32]
_SHARPNESS = np.float32(1.2)  # sqrt(2) rounds to the nearest level; less keeps a little more detail


def _level(footprint: Values) -> NDArray[np.int32]:
    """log2 of a footprint in texels, rounded, from the exponent bits."""
    exponent = (footprint * _SHARPNESS).view(np.int32) >> 23
    return np.asarray(np.clip(exponent - 127, 0, LEVELS - 1))


def _axis(t: Values, footprint: Values) -> tuple[NDArray[np.int32], NDArray[np.int32], Values]:
    """Texel positions along one axis of a ripmap, their right neighbours', and the weight of the latter."""
    level = _level(footprint)
    size = np.right_shift(np.int32(SIZE), level)
    at = t * size - np.float32(0.5)
    low = np.floor(at)
    weight = at - low
    first = low.astype(np.int32)
    start = np.int32(SIDE) - np.right_shift(np.int32(SIDE), level)
    wrap = size - 1
    return start + (first & wrap), start + ((first + 1) & wrap), weight


def sample(material: NDArray[np.int32] | int, u: Values, v: Values, step_u: Values, step_v: Values) -> Values:
    """(n, 4) float32 texels in [0, 1] at tile coordinates (u, v), bilinear, averaged over the footprint in tiles."""
    u0, u1, wu = _axis(u, np.abs(step_u) * np.float32(SIZE))
    v0, v1, wv = _axis(v, np.abs(step_v) * np.float32(SIZE))
    base = np.asarray(material, dtype=np.int32) * np.int32(SIDE * SIDE)
    row0, row1 = base + v0 * np.int32(SIDE), base + v1 * np.int32(SIDE)
    texels = atlas()

    def fetch(index: NDArray[np.int32]) -> Values:
        return texels.take(index).view(np.uint8).reshape(-1, 4).astype(np.float32)

    wu, wv = wu[:, None], wv[:, None]
    near, far = fetch(row0 + u0), fetch(row1 + u0)
    near += (fetch(row0 + u1) - near) * wu
    far += (fetch(row1 + u1) - far) * wu
    near += (far - near) * wv
    near *= np.float32(1 / 255)
    return near


@lru_cache(maxsize=1)
def _stains() -> Values:
    return np.ascontiguousarray(noise(101, 4, 5).astype(np.float32).reshape(-1))


def stain(u: Values, v: Values) -> Values:
    """Smooth noise in [0, 1] of period 1, for dirt and patches much larger than a tile."""
    column = (u * np.float32(SIZE)).astype(np.int32) & (SIZE - 1)
    row = (v * np.float32(SIZE)).astype(np.int32) & (SIZE - 1)
    return np.asarray(_stains().take(row * SIZE + column))


def scatter(i: NDArray[np.int32], j: NDArray[np.int32], seed: NDArray[np.int32]) -> tuple[Values, Values]:
    """Two independent hashes in [0, 1) of integer triples."""
    h = (i.astype(np.uint32) * np.uint32(73856093)) ^ (j.astype(np.uint32) * np.uint32(19349663))
    h ^= seed.astype(np.uint32) * np.uint32(83492791)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    h ^= h >> np.uint32(16)
    return (h & np.uint32(1023)) * np.float32(1 / 1024), ((h >> np.uint32(10)) & np.uint32(1023)) * np.float32(1 / 1024)


@lru_cache(maxsize=1)
def gaussian_bank() -> Values:
    """2^20 standard normal values (Box-Muller), from which every frame's sensor noise is cut."""
    uniform = Dice(102).array(2, 1 << 19)
    radius, angle = np.sqrt(-2 * np.log(1 - uniform[0])), 2 * np.pi * uniform[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32)
