"""The look of the sky and of the far skyline before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .domains import Look
from .geometry import Snapshot, sky_angles
from .quads import SKY, TREE
from .sampling import Values, sample, stain
from .street import StreetPlan
from .textures import Material

_FAR_TREES, _FAR_HOUSES = (0.06, 0.08, 0.04), (0.22, 0.19, 0.17)
_SKYLINE_DISTANCE = 150.0  # metres, as far as haze is concerned


def shade_sky(snap: Snapshot, far: NDArray[np.int64], plan: StreetPlan, look: Look) -> Values:
    """(3, n) linear RGB of the pixels at infinity."""
    azimuth, elevation = sky_angles(snap.view, far)
    lift = np.maximum(elevation, 0)
    flat = np.float32(0.35) / (lift + np.float32(0.12))
    step = flat / ((lift + np.float32(0.12)) * np.float32(snap.view.lens.focal))
    texel = sample(int(Material.CLOUD), np.sin(azimuth) * flat, np.cos(azimuth) * flat, step, step)
    cover = np.clip((texel[:, 0] + np.float32(2 * look.clouds - 1)) * np.float32(1.6), 0, 1)
    body = np.float32(0.75) + np.float32(0.35) * texel[:, 2]
    height = np.clip(lift * np.float32(1.6), 0, 1) ** np.float32(0.6)
    right, up, forward = (np.float32(part) for part in plan.sun)
    facing = np.sin(azimuth) * right + np.cos(azimuth) * forward + elevation * up
    facing = facing * (1 / np.sqrt(1 + elevation * elevation))
    glare = np.maximum(facing, 0) ** 12 * np.float32(0.8)
    kind = snap.label.reshape(-1)[far]
    block = stain(azimuth * np.float32(3.0), elevation * np.float32(4.0))
    mist = np.float32(min(1.0, 0.25 + _SKYLINE_DISTANCE / look.visibility))
    out = np.empty((3, len(far)), dtype=np.float32)
    for c in range(3):
        clear = np.float32(look.horizon[c]) + np.float32(look.zenith[c] - look.horizon[c]) * height
        cloud = np.float32(0.72 * look.horizon[c] + 0.25 * look.zenith[c]) * body
        value = clear + (cloud - clear) * cover + np.float32(look.sun[c]) * glare
        ink = np.where(kind == TREE, np.float32(_FAR_TREES[c]), np.float32(_FAR_HOUSES[c]))
        ink = ink * np.float32(look.ambient[c]) * (np.float32(0.5) + block)
        ink += (np.float32(look.fog[c]) - ink) * mist
        out[c] = np.where(kind == SKY, value, ink)
    return out
