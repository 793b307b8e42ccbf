"""From what each pixel sees to the light that reaches the camera: linear RGB, before lens and sensor."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .domains import Look
from .geometry import INFINITY, Snapshot, sky_angles
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
    ROAD,
    SIDEWALK,
    SKY,
    SNOWY,
    TREE,
    WINDOWS,
)
from .sampling import Values, sample, scatter, stain
from .street import CELL, StreetPlan
from .textures import Material

_SNOW = (0.85, 0.88, 0.95)
_PAINT = (0.62, 0.62, 0.58)
_YELLOW = (0.5, 0.36, 0.06)


class Shader:
    """Shades snapshots of one sequence in one look."""

    def __init__(self, plan: StreetPlan, look: Look) -> None:
        self._plan, self._look = plan, look

    def __call__(self, snap: Snapshot) -> Values:
        """(3, H, W) float32 linear RGB."""
        height, width = snap.owner.shape
        picture = np.empty((3, height * width), dtype=np.float32)
        solid = np.flatnonzero(snap.owner >= 0)
        pixels = snap.ground.pixels
        picture[:, solid] = self._air(snap, solid, self._solids(snap, solid))
        picture[:, pixels] = self._air(snap, pixels, self._ground(snap))
        far = np.flatnonzero(snap.owner == INFINITY)
        picture[:, far] = self._sky(snap, far)
        return picture.reshape(3, height, width)

    # ---- solid things -----------------------------------------------------------------------------------------

    def _lit_colours(self, quads: NDArray[np.float64]) -> NDArray[np.float32]:
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
        return (colours.transpose(0, 2, 1) * light).reshape(9, -1).astype(np.float32)

    def _solids(self, snap: Snapshot, solid: NDArray[np.int64]) -> Values:
        """(3, n) colours of the pixels that show quads."""
        rows = snap.projected.rows
        quads = snap.quads[rows]
        compact = np.zeros(len(snap.quads), dtype=np.int32)
        compact[rows] = np.arange(len(rows), dtype=np.int32)
        slot = compact.take(snap.owner.reshape(-1)[solid])
        u, v, step_u, step_v = _surface_coordinates(snap, quads, slot, solid)
        texel = sample(quads[:, MATERIAL].astype(np.int32).take(slot), u, v, step_u, step_v)
        mix, bright, special = texel[:, 0], texel[:, 1] * np.float32(255 / 128), texel[:, 2]
        colours = self._lit_colours(quads)
        flags = quads[:, FLAGS].astype(np.int32).take(slot)
        seed = (quads[:, OFFSET] @ np.array([1.0, 131.0])).astype(np.int32).take(slot)
        dirt = stain(u * np.float32(0.21) + seed * np.float32(0.37), v * np.float32(0.17))
        tone = bright * (np.float32(0.78) + np.float32(0.44) * dirt)
        glass_tone, glow = self._windows(flags, special, u, v, seed, quads[:, GLOW].astype(np.float32).take(slot))
        glass_tone *= bright
        occlusion = self._skirt(snap, solid)
        out = np.empty((3, len(solid)), dtype=np.float32)
        shine = quads[:, COLOUR_S].T.astype(np.float32)
        glow *= special
        window_glow = glow * ((flags & WINDOWS) > 0)
        lamp_glow = glow - window_glow
        local = self._artificial(snap, solid)
        raw = self._raw_tone(quads).take(slot) * tone
        for c, warm in enumerate((0.55, 0.36, 0.16)):
            base = colours[c].take(slot)
            base += (colours[3 + c].take(slot) - base) * mix
            base *= tone
            base += special * (colours[6 + c].take(slot) * glass_tone - base)
            base *= occlusion
            if local is not None:
                base += raw * local[c]
            base += window_glow * np.float32(warm) + lamp_glow * shine[c].take(slot)
            out[c] = base
        return out

    @staticmethod
    def _raw_tone(quads: NDArray[np.float64]) -> Values:
        return np.asarray(quads[:, COLOUR_A].mean(axis=1), dtype=np.float32)

    def _windows(
        self, flags: NDArray[np.int32], special: Values, u: Values, v: Values, seed: NDArray[np.int32], glow: Values
    ) -> tuple[Values, Values]:
        """Brightness of glass, pane by pane, and the light from within."""
        tone = np.ones_like(special)
        glow = glow * np.float32(self._look.lamps)
        panes = np.flatnonzero(((flags & WINDOWS) > 0) & (special > 0.02))
        i, j = np.floor(u[panes]).astype(np.int32), np.floor(v[panes]).astype(np.int32)
        first, second = scatter(i, j, seed[panes])
        tone[panes] = np.where(first > 0.8, 4.0 * first, 0.4 + 1.6 * first).astype(np.float32)
        lit = second < self._look.lit
        strength = np.float32(0.08 + 0.12 * self._look.lamps)
        glow[panes] = np.where(lit, strength * (0.5 + first) * quads_glow(glow[panes], self._look.lamps), 0)
        return tone, glow

    def _skirt(self, snap: Snapshot, pixels: NDArray[np.int64]) -> Values:
        """Less sky is seen from low down: ambient occlusion by height above the ground."""
        y = _world_height(snap, pixels)
        return np.float32(0.62) + np.float32(0.38) * np.clip(y * np.float32(0.3), 0, 1)

    def _artificial(self, snap: Snapshot, pixels: NDArray[np.int64]) -> Values | None:
        """(3, n) light of street lamps and of the own headlights; None where both are off."""
        look = self._look
        if look.lamps < 0.15 and look.headlights <= 0:
            return None
        plan, lens = self._plan, snap.view.lens
        y, x = np.divmod(pixels.astype(np.int32), np.int32(lens.width))
        depth = 1 / snap.nearness.reshape(-1)[pixels]
        along = depth + np.float32(snap.view.origin_s % (CELL * plan.lamp_cells))
        across = (x - np.float32(lens.centre_x)) / np.float32(lens.focal)
        drop = (y - np.float32(lens.centre_y)) / np.float32(lens.focal) + np.float32(snap.view.pose.pitch)
        spacing = np.float32(CELL * plan.lamp_cells)
        near = np.abs((along / spacing + np.float32(0.5)) % 1.0 - np.float32(0.5)) * spacing
        lamp_at = (2 * plan.lamp_side - 1) * (plan.half_road[plan.lamp_side] - 1.0) - snap.view.pose.lateral
        aside = across * depth - np.float32(lamp_at)
        pool = np.float32(0.55 * look.lamps) / (1 + (near * near + aside * aside) * np.float32(0.04))
        beam = np.exp(-((across / np.float32(0.45)) ** 2)) * np.clip((drop + np.float32(0.03)) * 16, 0.05, 1)
        beam *= np.float32(2.2 * look.headlights) / (1 + (depth * np.float32(1 / 9.0)) ** 2)
        lamp_colour, beam_colour = (1.0, 0.72, 0.42), (1.0, 0.95, 0.85)
        return np.stack([pool * np.float32(p) + beam * np.float32(b) for p, b in zip(lamp_colour, beam_colour, strict=True)])

    # ---- the ground -------------------------------------------------------------------------------------------

    def _ground(self, snap: Snapshot) -> Values:
        plan, look, ground = self._plan, self._look, snap.ground
        lens = snap.view.lens
        pixels = ground.pixels
        depth = 1 / snap.nearness.reshape(-1)[pixels]
        step_x = depth * np.float32(1 / lens.focal)  # metres a pixel across
        step_z = depth * step_x * np.float32(1 / snap.view.pose.height)  # and along
        s = ground.along + np.float32(snap.view.origin_s % 5040.0)  # a multiple of every pattern's period
        classes = snap.label.reshape(-1)[pixels]
        albedo = np.empty((3, len(pixels)), dtype=np.float32)
        patch = stain(ground.lateral * np.float32(0.05), s * np.float32(1 / 20))
        for kind, material, tile, tone, other in (
            (ROAD, Material.ASPHALT, 3.0, plan.asphalt_tone, np.multiply(plan.asphalt_tone, 1.2)),
            (SIDEWALK, Material.PAVING, 2.4, plan.paving_tone, np.multiply(plan.paving_tone, 0.6)),
            (TREE, Material.LEAVES, 3.0, (0.07, 0.1, 0.03), (0.13, 0.14, 0.05)),
        ):
            part = np.flatnonzero(classes == kind)
            scale = np.float32(1 / tile)
            texel = sample(
                int(material), ground.lateral[part] * scale, s[part] * scale, step_x[part] * scale, step_z[part] * scale
            )
            shade = texel[:, 1] * np.float32(255 / 128) * (np.float32(0.75) + np.float32(0.5) * patch[part])
            for c in range(3):
                albedo[c, part] = (np.float32(tone[c]) + np.float32(other[c] - tone[c]) * texel[:, 0]) * shade
        self._paint(snap, albedo, classes, s, step_x, step_z, patch)
        if look.snow > 0:
            self._cover_with_snow(albedo, classes, ground.lateral, s, patch)
        if look.wet > 0:
            albedo *= np.float32(1 - 0.5 * look.wet)
        sunny = np.clip(np.float32(0.5) - ground.sun_wall / (np.float32(0.3) + step_x), 0, 1)
        sunny *= snap.sun_shade.reshape(-1)[pixels] * np.float32(plan.sun[1])
        local = self._artificial(snap, pixels)
        sheltered = snap.shade.reshape(-1)[pixels]
        for c in range(3):
            light = np.float32(look.ambient[c]) + np.float32(look.sun[c]) * sunny
            if local is not None:
                light += local[c]
            albedo[c] *= light * sheltered
        return albedo

    def _paint(
        self, snap: Snapshot, albedo: Values, classes: NDArray[np.uint8], s: Values, step_x: Values, step_z: Values,
        patch: Values,
    ) -> None:  # fmt: skip
        """Lane marks, kerbs and crossings, worn by the same patches as the road, into ``albedo``."""
        plan, lateral = self._plan, snap.ground.lateral
        worn = np.clip(np.float32(1.3) - patch, np.float32(0.3), 1)
        road = classes == ROAD

        def stripe(distance: Values, half: float, step: Values) -> Values:
            cover = np.clip((np.float32(half) - np.abs(distance)) / step + np.float32(0.5), 0, 1)
            return cover * np.minimum(np.float32(2 * half) / step, 1)

        white = np.zeros_like(lateral)
        if plan.centre_line == 1:
            dash = np.abs((s * np.float32(1 / 6)) % 1 - np.float32(0.5)) * 6
            white += stripe(lateral, 0.07, step_x) * np.clip((np.float32(1.2) - dash) / step_z + np.float32(0.5), 0, 1)
        elif plan.centre_line == 2:
            white += stripe(np.abs(lateral) - np.float32(0.15), 0.06, step_x)
        yellow = np.zeros_like(lateral)
        out = np.abs(lateral)
        half = np.where(lateral > 0, np.float32(plan.half_road[1]), np.float32(plan.half_road[0]))
        if plan.bicycle_lane > 0.5:
            white += stripe(out - np.float32(plan.lane), 0.06, step_x)
        if plan.edge_line == 1:
            white += stripe(out - half + np.float32(0.3), 0.06, step_x)
        elif plan.edge_line == 2:
            yellow += stripe(np.abs(out - half + np.float32(0.35)) - np.float32(0.12), 0.05, step_x)
        white += self._crossings(snap, half)
        for c in range(3):
            target = albedo[c]
            target += (np.float32(_PAINT[c]) - target) * (np.minimum(white, 1) * worn * road)
            target += (np.float32(_YELLOW[c]) - target) * (np.minimum(yellow, 1) * worn * road)
        kerb = stripe(out - half - np.float32(0.08), 0.09, step_x) * (classes == SIDEWALK)
        gutter = stripe(out - half + np.float32(0.1), 0.1, step_x) * road
        albedo *= (1 + np.float32(0.5) * kerb) * (1 - np.float32(0.45) * gutter)

    def _crossings(self, snap: Snapshot, half: Values) -> Values:
        """Coverage by zebra stripes."""
        ground, plan = snap.ground, self._plan
        first = math.floor(snap.view.origin_s / CELL) - 2
        marked = np.array([plan.has_crossing(first + k) for k in range(20)], dtype=np.float32)
        at = (ground.along + np.float32(snap.view.origin_s - first * CELL)) * np.float32(1 / CELL)
        cell = np.floor(at)
        here = (at - cell - np.float32(0.5)) * np.float32(CELL)
        out = np.abs(ground.lateral)
        on = (np.abs(here) < 1.4) & (out < half) & (out % 1.0 < 0.5)
        return marked.take(np.clip(cell, 0, 19).astype(np.int32)) * on

    def _cover_with_snow(
        self, albedo: Values, classes: NDArray[np.uint8], lateral: Values, s: Values, patch: Values
    ) -> None:
        look = self._look
        drift = stain(lateral * np.float32(0.11) + np.float32(0.3), s * np.float32(1 / 14)) * np.float32(0.7) + patch * np.float32(0.5)
        tracks = np.abs(np.abs(np.abs(lateral) - np.float32(0.5 * self._plan.lane)) - np.float32(0.75))
        swept = np.where(classes == ROAD, np.float32(0.8) * np.clip(1 - tracks / np.float32(0.5), 0, 1) + np.float32(0.35), 0)
        cover = np.clip((drift + np.float32(look.snow) - np.float32(0.55) - swept) * 2.5, 0, 1)
        for c in range(3):
            albedo[c] += (np.float32(_SNOW[c] * 0.85) * (np.float32(0.8) + np.float32(0.3) * patch) - albedo[c]) * cover

    # ---- sky and air ------------------------------------------------------------------------------------------

    def _sky(self, snap: Snapshot, far: NDArray[np.int64]) -> Values:
        look = self._look
        azimuth, elevation = sky_angles(snap.view, far)
        lift = np.maximum(elevation, 0)
        flat = np.float32(0.35) / (lift + np.float32(0.12))
        u, v = np.sin(azimuth) * flat, np.cos(azimuth) * flat
        step = flat / ((lift + np.float32(0.12)) * np.float32(snap.view.lens.focal))
        texel = sample(int(Material.CLOUD), u, v, step, step)
        cover = np.clip((texel[:, 0] + np.float32(2 * look.clouds - 1)) * np.float32(1.6), 0, 1)
        body = np.float32(0.75) + np.float32(0.35) * texel[:, 2]
        height = np.clip(lift * np.float32(1.6), 0, 1) ** np.float32(0.6)
        right, up, forward = self._plan.sun
        norm = 1 / np.sqrt(1 + elevation * elevation)
        facing = (np.sin(azimuth) * np.float32(right) + np.cos(azimuth) * np.float32(forward) + elevation * np.float32(up)) * norm
        glare = np.maximum(facing, 0) ** 12 * np.float32(0.8)
        kind = snap.label.reshape(-1)[far]
        block = stain(azimuth * np.float32(3.0), elevation * np.float32(4.0))
        mist = np.float32(min(1.0, 0.25 + 150.0 / look.visibility))
        out = np.empty((3, len(far)), dtype=np.float32)
        for c in range(3):
            clear = np.float32(look.horizon[c]) + np.float32(look.zenith[c] - look.horizon[c]) * height
            cloud = np.float32(0.72 * look.horizon[c] + 0.25 * look.zenith[c]) * body
            value = clear + (cloud - clear) * cover + np.float32(look.sun[c]) * glare
            ink = np.where(kind == TREE, np.float32((0.06, 0.08, 0.04)[c]), np.float32((0.22, 0.19, 0.17)[c]))
            ink = ink * np.float32(look.ambient[c]) * (np.float32(0.5) + block)
            ink += (np.float32(look.fog[c]) - ink) * mist
            out[c] = np.where(kind == SKY, value, ink)
        return out

    def _air(self, snap: Snapshot, pixels: NDArray[np.int64], colour: Values) -> Values:
        """Fog and haze between the camera and what it sees."""
        look = self._look
        left = np.exp(np.float32(-1 / look.visibility) / snap.nearness.reshape(-1)[pixels])
        for c in range(3):
            fog = np.float32(look.fog[c])
            colour[c] = fog + (colour[c] - fog) * left
        return colour


def quads_glow(glow: Values, lamps: float) -> Values:
    """A window's own glow, without the factor of the lamps outside."""
    return glow / np.float32(max(lamps, 1e-3))


def _world_height(snap: Snapshot, pixels: NDArray[np.int64]) -> Values:
    """Metres above the ground of what the pixels see."""
    view = snap.view
    up = np.linalg.inv(view.projection)[1].astype(np.float32)
    y, x = np.divmod(pixels.astype(np.int32), np.int32(view.lens.width))
    ray = up[0] * x.astype(np.float32) + (up[1] * y.astype(np.float32) + up[2])
    return np.float32(view.position[1]) + ray / snap.nearness.reshape(-1)[pixels]


def _surface_coordinates(
    snap: Snapshot, quads: NDArray[np.float64], slot: NDArray[np.int32], solid: NDArray[np.int64]
) -> tuple[Values, Values, Values, Values]:
    """Texture coordinates (tiles) of pixels on quads, and how many tiles a pixel covers along each."""
    m = snap.projected.inverse.astype(np.float32)
    y, x = np.divmod(solid.astype(np.int32), np.int32(snap.view.lens.width))
    x, y = x.astype(np.float32), y.astype(np.float32)
    depth = 1 / snap.nearness.reshape(-1)[solid]
    near_x, near_y = m[:, 2, 0].take(slot), m[:, 2, 1].take(slot)
    coordinates, steps = [], []
    for axis in (0, 1):
        mx, my = m[:, axis, 0].take(slot), m[:, axis, 1].take(slot)
        p = (mx * x + (my * y + m[:, axis, 2].take(slot))) * depth
        repeat = quads[:, REPEAT.start + axis].astype(np.float32).take(slot)
        reach = repeat * depth
        steps.append(np.maximum(np.abs(mx - p * near_x), np.abs(my - p * near_y)) * reach)
        coordinates.append(p * repeat)
    return coordinates[0], coordinates[1], steps[0], steps[1]

