"""Light that is not the sky's: street lamps and the own headlights; and what the air does on the way to the camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .domains import Look
from .geometry import Snapshot
from .sampling import Values
from .street import CELL, StreetPlan

_LAMP_COLOUR, _BEAM_COLOUR = (1.0, 0.72, 0.42), (1.0, 0.95, 0.85)
_FAINTEST_LAMPS = 0.15  # strength below which lamps lighten nothing but themselves

# Python scalars keep float32 arrays float32; NumPy scalars of float64 (parts of poses and plans) would not.


def lamp_light(snap: Snapshot, pixels: NDArray[np.int64], plan: StreetPlan, look: Look) -> Values | None:
    """(3, n) linear RGB that lamps throw on the surfaces at ``pixels``; None where they are off."""
    if look.lamps < _FAINTEST_LAMPS and look.headlights <= 0:
        return None
    lens = snap.view.lens
    y, x = np.divmod(pixels.astype(np.int32), np.int32(lens.width))
    depth = 1 / snap.nearness.reshape(-1)[pixels]
    spacing = np.float32(CELL * plan.lamp_cells)
    along = depth + np.float32(snap.view.origin_s % (CELL * plan.lamp_cells))
    across = (x - np.float32(lens.centre_x)) / np.float32(lens.focal)
    drop = (y - np.float32(lens.centre_y)) / np.float32(lens.focal) + np.float32(snap.view.pose.pitch)
    near = np.abs((along / spacing + np.float32(0.5)) % 1.0 - np.float32(0.5)) * spacing
    side = plan.lamp_side
    lamp_at = (2 * side - 1) * (plan.half_road[side] - 1.0) - snap.view.pose.lateral
    aside = across * depth - np.float32(lamp_at)
    pool = np.float32(0.55 * look.lamps) / (1 + (near * near + aside * aside) * np.float32(0.04))
    beam = np.exp(-((across / np.float32(0.45)) ** 2)) * np.clip((drop + np.float32(0.03)) * 16, 0.05, 1)
    beam *= np.float32(2.2 * look.headlights) / (1 + (depth * np.float32(1 / 9.0)) ** 2)
    light = np.empty((3, len(pixels)), dtype=np.float32)
    for c in range(3):
        light[c] = pool * np.float32(_LAMP_COLOUR[c]) + beam * np.float32(_BEAM_COLOUR[c])
    return light


def through_air(snap: Snapshot, pixels: NDArray[np.int64], colour: Values, look: Look) -> Values:
    """``colour`` (3, n), changed in place, as it arrives through fog or haze."""
    left = np.exp(np.float32(-1 / look.visibility) / snap.nearness.reshape(-1)[pixels])
    for c in range(3):
        fog = np.float32(look.fog[c])
        colour[c] = fog + (colour[c] - fog) * left
    return colour
