"""From what each pixel sees to the light that reaches the camera: linear RGB, before lens and sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .domains import Look
from .geometry import INFINITY, Snapshot
from .ground import GroundShader
from .light import lamp_light, through_air
from .quads import (
    BOTH_SIDES,
    COLOUR_A,
    COLOUR_B,
    COLOUR_S,
    EDGE_U,
    EDGE_V,
    FLAGS,
    GLOW,
    MATERIAL,
    OFFSET,
    REPEAT,
    SNOWY,
    WINDOWS,
    Table,
)
from .sampling import Values, sample, scatter, stain
from .sky import shade_sky
from .street import StreetPlan

_SNOW = (0.85, 0.88, 0.95)
_ROOM_LIGHT = (0.55, 0.36, 0.16)


class Shader:
    """Shades snapshots of one sequence in one look."""

    def __init__(self, plan: StreetPlan, look: Look) -> None:
        self._plan, self._look = plan, look
        self._shade_ground = GroundShader(plan, look)

    def __call__(self, snap: Snapshot) -> Values:
        """(3, H, W) float32 linear RGB."""
        height, width = snap.owner.shape
        picture = np.empty((3, height * width), dtype=np.float32)
        solid = np.flatnonzero(snap.owner >= 0)
        ground = snap.ground.pixels
        picture[:, solid] = through_air(snap, solid, self._solids(snap, solid), self._look)
        picture[:, ground] = through_air(snap, ground, self._shade_ground(snap), self._look)
        far = np.flatnonzero(snap.owner == INFINITY)
        picture[:, far] = shade_sky(snap, far, self._plan, self._look)
        return picture.reshape(3, height, width)

    def _solids(self, snap: Snapshot, solid: NDArray[np.int64]) -> Values:
        """(3, n) colours of the pixels that show quads, before the air."""
        rows = snap.projected.rows
        quads = snap.quads[rows]
        compact = np.zeros(len(snap.quads), dtype=np.int32)
        compact[rows] = np.arange(len(rows), dtype=np.int32)
        slot = compact.take(snap.owner.reshape(-1)[solid])
        u, v, step_u, step_v = _surface_coordinates(snap, quads, slot, solid)
        texel = sample(quads[:, MATERIAL].astype(np.int32).take(slot), u, v, step_u, step_v)
        mix, bright, special = texel[:, 0], texel[:, 1] * np.float32(255 / 128), texel[:, 2]
        colours = self._lit_colours(quads)
        windows = (quads[:, FLAGS].astype(np.int32).take(slot) & WINDOWS) > 0
        seed = (quads[:, OFFSET] @ np.array([1.0, 131.0])).astype(np.int32).take(slot)
        dirt = stain(u * np.float32(0.21) + seed * np.float32(0.37), v * np.float32(0.17))
        tone = bright * (np.float32(0.78) + np.float32(0.44) * dirt)
        glass_tone, glow = self._windows(windows, special, u, v, seed, quads[:, GLOW].astype(np.float32).take(slot))
        glass_tone *= bright
        occlusion = _sky_share(snap, solid)
        glow *= special
        window_glow = glow * windows
        lamp_glow = glow - window_glow
        lamps = lamp_light(snap, solid, self._plan, self._look)
        raw = quads[:, COLOUR_A].mean(axis=1).astype(np.float32).take(slot) * tone
        shine = quads[:, COLOUR_S].T.astype(np.float32)
        out = np.empty((3, len(solid)), dtype=np.float32)
        for c in range(3):
            base = colours[c].take(slot)
            base += (colours[3 + c].take(slot) - base) * mix
            base *= tone
            base += special * (colours[6 + c].take(slot) * glass_tone - base)
            base *= occlusion
            if lamps is not None:
                base += raw * lamps[c]
            base += window_glow * np.float32(_ROOM_LIGHT[c]) + lamp_glow * shine[c].take(slot)
            out[c] = base
        return out

    def _lit_colours(self, quads: Table) -> Values:
        """(9, Q): the three colours of each quad under the light that falls on its side."""
        look = self._look
        normal = -np.cross(quads[:, EDGE_U], quads[:, EDGE_V])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        toward = normal @ np.array(self._plan.sun)
        flags = quads[:, FLAGS].astype(np.int64)
        toward = np.where(flags & BOTH_SIDES, 0.25 + 0.4 * np.abs(toward), np.maximum(toward, 0))
        light = np.outer(np.array(look.ambient), 0.8 + 0.2 * normal[:, 1]) + np.outer(np.array(look.sun), toward)
        colours = np.stack([quads[:, part] for part in (COLOUR_A, COLOUR_B, COLOUR_S)])  # (3, Q, 3)
        if look.snow > 0:
            cover = np.where(flags & SNOWY, look.snow * (0.25 + 0.65 * np.maximum(normal[:, 1], 0)), 0.0)[None, :, None]
            colours[:2] += (np.array(_SNOW) - colours[:2]) * cover
        lit: Values = (colours.transpose(0, 2, 1) * light).reshape(9, -1).astype(np.float32)
        return lit

    def _windows(
        self, windows: NDArray[np.bool_], special: Values, u: Values, v: Values, seed: NDArray[np.int32], glow: Values
    ) -> tuple[Values, Values]:
        """Brightness of glass, pane by pane, and how strongly each pixel's special part shines by itself."""
        look = self._look
        tone = np.ones_like(special)
        shine = glow * np.float32(look.lamps)
        panes = np.flatnonzero(windows & (special > 0.02))
        i, j = np.floor(u[panes]).astype(np.int32), np.floor(v[panes]).astype(np.int32)
        first, second = scatter(i, j, seed[panes])
        tone[panes] = np.where(first > 0.8, 4.0 * first, 0.4 + 1.6 * first).astype(np.float32)
        lit = second < look.lit
        strength = np.float32(0.08 + 0.12 * look.lamps)  # rooms are lit whatever the lamps outside do
        room = shine[panes] / np.float32(max(look.lamps, 1e-3))
        shine[panes] = np.where(lit, strength * (0.5 + first) * room, 0)
        return tone, shine


def _sky_share(snap: Snapshot, pixels: NDArray[np.int64]) -> Values:
    """Less sky is seen from low down: ambient occlusion by height above the ground."""
    view = snap.view
    up = np.linalg.inv(view.projection)[1].astype(np.float32)
    y, x = np.divmod(pixels.astype(np.int32), np.int32(view.lens.width))
    ray = up[0] * x.astype(np.float32) + (up[1] * y.astype(np.float32) + up[2])
    height = np.float32(view.position[1]) + ray / snap.nearness.reshape(-1)[pixels]
    return np.asarray(np.float32(0.62) + np.float32(0.38) * np.clip(height * np.float32(0.3), 0, 1))


def _surface_coordinates(
    snap: Snapshot, quads: Table, slot: NDArray[np.int32], solid: NDArray[np.int64]
) -> tuple[Values, Values, Values, Values]:
    """Texture coordinates (tiles) of pixels on quads, and how many tiles a pixel covers along each."""
    m: Values = snap.projected.inverse.astype(np.float32)
    yi, xi = np.divmod(solid.astype(np.int32), np.int32(snap.view.lens.width))
    x, y = xi.astype(np.float32), yi.astype(np.float32)
    depth = 1 / snap.nearness.reshape(-1)[solid]
    near_x, near_y = m[:, 2, 0].take(slot), m[:, 2, 1].take(slot)
    coordinates: list[Values] = []
    steps: list[Values] = []
    for axis in (0, 1):
        mx, my = m[:, axis, 0].take(slot), m[:, axis, 1].take(slot)
        p = (mx * x + (my * y + m[:, axis, 2].take(slot))) * depth
        repeat: Values = quads[:, REPEAT.start + axis].astype(np.float32).take(slot)
        change = np.maximum(np.abs(mx - p * near_x), np.abs(my - p * near_y))
        steps.append(np.asarray(change * (repeat * depth), dtype=np.float32))
        coordinates.append(np.asarray(p * repeat, dtype=np.float32))
    return coordinates[0], coordinates[1], steps[0], steps[1]
