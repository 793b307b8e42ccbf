"""The look of the ground: asphalt, paving and grass, paint, kerbs, snow, and the shadows that fall on them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .domains import Look
from .geometry import Snapshot
from .light import lamp_light
from .quads import ROAD, SIDEWALK, TREE
from .sampling import Values, sample, stain
from .street import CELL, StreetPlan
from .textures import Material

_SNOW = (0.85, 0.88, 0.95)
_PAINT, _YELLOW = (0.62, 0.62, 0.58), (0.5, 0.36, 0.06)
_PERIOD = 5040.0  # metres: a multiple of every pattern's period, so that float32 keeps its precision
_CELLS_AHEAD = 20


class GroundShader:
    """Shades the ground of one sequence's snapshots in one look."""

    def __init__(self, plan: StreetPlan, look: Look) -> None:
        self._plan, self._look = plan, look

    def __call__(self, snap: Snapshot) -> Values:
        """(3, n) linear RGB of the ground's pixels, before the air."""
        look, ground, lens = self._look, snap.ground, snap.view.lens
        depth = 1 / snap.nearness.reshape(-1)[ground.pixels]
        step_x = depth * np.float32(1 / lens.focal)  # metres a pixel across
        step_z = depth * step_x * np.float32(1 / snap.view.pose.height)  # and along
        s = ground.along + np.float32(snap.view.origin_s % _PERIOD)
        classes = snap.label.reshape(-1)[ground.pixels]
        patch = stain(ground.lateral * np.float32(0.05), s * np.float32(1 / 20))
        albedo = self._materials(classes, ground.lateral, s, step_x, step_z, patch)
        self._paint(snap, albedo, classes, s, step_x, step_z, patch)
        if look.snow > 0:
            self._cover_with_snow(albedo, classes, ground.lateral, s, patch)
        if look.wet > 0:
            albedo *= np.float32(1 - 0.5 * look.wet)
        self._illuminate(snap, albedo, step_x)
        return albedo

    def _materials(
        self, classes: NDArray[np.uint8], lateral: Values, s: Values, step_x: Values, step_z: Values, patch: Values
    ) -> Values:
        plan = self._plan
        albedo = np.empty((3, len(s)), dtype=np.float32)
        for kind, material, tile, tone, other in (
            (ROAD, Material.ASPHALT, 3.0, plan.asphalt_tone, np.multiply(plan.asphalt_tone, 1.2)),
            (SIDEWALK, Material.PAVING, 2.4, plan.paving_tone, np.multiply(plan.paving_tone, 0.6)),
            (TREE, Material.LEAVES, 3.0, (0.07, 0.1, 0.03), (0.13, 0.14, 0.05)),
        ):
            part = np.flatnonzero(classes == kind)
            scale = np.float32(1 / tile)
            texel = sample(
                int(material), lateral[part] * scale, s[part] * scale, step_x[part] * scale, step_z[part] * scale
            )
            shade = texel[:, 1] * np.float32(255 / 128) * (np.float32(0.75) + np.float32(0.5) * patch[part])
            for c in range(3):
                albedo[c, part] = (np.float32(tone[c]) + np.float32(other[c] - tone[c]) * texel[:, 0]) * shade
        return albedo

    def _paint(
        self, snap: Snapshot, albedo: Values, classes: NDArray[np.uint8], s: Values, step_x: Values, step_z: Values,
        patch: Values,
    ) -> None:  # fmt: skip
        """Lane marks, kerbs and crossings, worn by the same patches as the road, into ``albedo``."""
        plan, lateral = self._plan, snap.ground.lateral
        worn = np.clip(np.float32(1.3) - patch, np.float32(0.3), 1)
        road = classes == ROAD
        white = np.zeros_like(lateral)
        if plan.centre_line == 1:
            dash = np.abs((s * np.float32(1 / 6)) % 1 - np.float32(0.5)) * 6
            ends = np.clip((np.float32(1.2) - dash) / step_z + np.float32(0.5), 0, 1)
            white += _stripe(lateral, 0.07, step_x) * ends
        elif plan.centre_line == 2:
            white += _stripe(np.abs(lateral) - np.float32(0.15), 0.06, step_x)
        yellow = np.zeros_like(lateral)
        out = np.abs(lateral)
        half = np.where(lateral > 0, np.float32(plan.half_road[1]), np.float32(plan.half_road[0]))
        if plan.bicycle_lane > 0.5:
            white += _stripe(out - np.float32(plan.lane), 0.06, step_x)
        if plan.edge_line == 1:
            white += _stripe(out - half + np.float32(0.3), 0.06, step_x)
        elif plan.edge_line == 2:
            yellow += _stripe(np.abs(out - half + np.float32(0.35)) - np.float32(0.12), 0.05, step_x)
        white += self._crossings(snap, half)
        for c in range(3):
            target = albedo[c]
            target += (np.float32(_PAINT[c]) - target) * (np.minimum(white, 1) * worn * road)
            target += (np.float32(_YELLOW[c]) - target) * (np.minimum(yellow, 1) * worn * road)
        kerb = _stripe(out - half - np.float32(0.08), 0.09, step_x) * (classes == SIDEWALK)
        gutter = _stripe(out - half + np.float32(0.1), 0.1, step_x) * road
        albedo *= (1 + np.float32(0.5) * kerb) * (1 - np.float32(0.45) * gutter)

    def _crossings(self, snap: Snapshot, half: Values) -> Values:
        """Coverage by zebra stripes."""
        ground, plan = snap.ground, self._plan
        first = math.floor(snap.view.origin_s / CELL) - 2
        marked = np.array([plan.has_crossing(first + k) for k in range(_CELLS_AHEAD)], dtype=np.float32)
        at = (ground.along + np.float32(snap.view.origin_s - first * CELL)) * np.float32(1 / CELL)
        cell = np.floor(at)
        here = (at - cell - np.float32(0.5)) * np.float32(CELL)
        out = np.abs(ground.lateral)
        on = (np.abs(here) < 1.4) & (out < half) & (out % 1.0 < 0.5)
        return np.asarray(marked.take(np.clip(cell, 0, _CELLS_AHEAD - 1).astype(np.int32)) * on)

    def _cover_with_snow(
        self, albedo: Values, classes: NDArray[np.uint8], lateral: Values, s: Values, patch: Values
    ) -> None:
        """Drifts, thinner where wheels run."""
        drift = stain(lateral * np.float32(0.11) + np.float32(0.3), s * np.float32(1 / 14)) * np.float32(0.7)
        drift = drift + patch * np.float32(0.5)
        tracks = np.abs(np.abs(np.abs(lateral) - np.float32(0.5 * self._plan.lane)) - np.float32(0.75))
        swept = np.float32(0.8) * np.clip(1 - tracks / np.float32(0.5), 0, 1) + np.float32(0.35)
        swept = np.where(classes == ROAD, swept, 0)
        cover = np.clip((drift + np.float32(self._look.snow) - np.float32(0.55) - swept) * 2.5, 0, 1)
        shade = np.float32(0.8) + np.float32(0.3) * patch
        for c in range(3):
            albedo[c] += (np.float32(_SNOW[c] * 0.85) * shade - albedo[c]) * cover

    def _illuminate(self, snap: Snapshot, albedo: Values, step_x: Values) -> None:
        look, ground = self._look, snap.ground
        sunny = np.clip(np.float32(0.5) - ground.sun_wall / (np.float32(0.3) + step_x), 0, 1)
        sunny *= snap.sun_shade.reshape(-1)[ground.pixels] * np.float32(self._plan.sun[1])
        lamps = lamp_light(snap, ground.pixels, self._plan, look)
        sheltered = snap.shade.reshape(-1)[ground.pixels]
        for c in range(3):
            light = np.float32(look.ambient[c]) + np.float32(look.sun[c]) * sunny
            if lamps is not None:
                light += lamps[c]
            albedo[c] *= light * sheltered


def _stripe(distance: Values, half: float, step: Values) -> Values:
    """How much of a pixel ``step`` metres wide is covered by a stripe of ``2 * half`` metres at ``distance``."""
    cover = np.clip((np.float32(half) - np.abs(distance)) / step + np.float32(0.5), 0, 1)
    return np.asarray(cover * np.minimum(np.float32(2 * half) / step, 1))
