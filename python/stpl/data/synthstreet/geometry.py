"""What each pixel of a frame sees, and where that was in the frame before: the part that no domain changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .camera import EgoMotion, View
from .dice import Dice
from .quads import BUILDING, CLASS, ROAD, SIDEWALK, SKY, TREE, Table
from .raster import Projected, Rasteriser, project, world_edges
from .street import CELL, SAMPLES, StreetPlan
from .traffic import Traffic

_BEHIND, _AHEAD = 20.0, 200.0  # metres of street that are built around the camera
_FARTHEST_GROUND = 500.0  # metres; beyond, the ground is lost in the skyline
GROUND, INFINITY = -1, -2  # owners of pixels that no quad covers


@dataclass
class Ground:
    """The pixels that show the ground (flat indices into the picture) and where on the street they lie."""

    pixels: NDArray[np.int64]
    lateral: NDArray[np.float32]  # metres right of the centre line
    along: NDArray[np.float32]  # metres ahead of the view's origin
    opening: NDArray[np.bool_]  # the mouth of a side street
    sun_wall: NDArray[np.float32]  # how far (metres) inside the shadow of the houses; negative in the light


@dataclass
class Snapshot:
    """One frame's geometry. Arrays are (H, W)."""

    view: View
    quads: Table
    projected: Projected
    owner: NDArray[np.int32]  # row of ``quads``, GROUND or INFINITY
    nearness: NDArray[np.float32]  # 1 / depth in 1/metres; 0 at infinity
    label: NDArray[np.uint8]
    shade: NDArray[np.float32]  # light left on the ground beneath things
    sun_shade: NDArray[np.float32]  # sun left on the ground
    ground: Ground


class Scene:
    """A sequence: a street, what moves in it, and the camera's way through it."""

    def __init__(self, seed: int, sequence: int) -> None:
        self.plan = StreetPlan(seed, sequence)
        self.ego = EgoMotion(Dice(seed, sequence, 7), self.plan.ego_lane)
        self.traffic = Traffic(self.plan, self.ego)
        self._static = lru_cache(maxsize=4)(self._build_static)
        self._skyline = _periodic_profile(Dice(seed, sequence, 8))

    def view(self, time: float, around: float, width: int, height: int) -> View:
        """The camera at ``time``, in the world whose origin is the street beside the camera at ``around``."""
        lens = self.ego.lens(width, height)
        return View(lens, self.ego.pose(time), self.plan.curvature, self.ego.travelled(around))

    def quads(self, time: float, around: float) -> Table:
        """Everything solid near the camera at ``around``, as it is at ``time``; the rows keep their order."""
        s = self.ego.travelled(around)
        static = self._static(math.floor((s - _BEHIND) / CELL), math.floor((s + _AHEAD) / CELL))
        return np.concatenate([static[0], self.traffic.rows(time, around)])

    def _build_static(self, first: int, last: int) -> tuple[Table, NDArray[np.float32], NDArray[np.bool_]]:
        cells = [self.plan.cell(k) for k in range(first, last + 1)]
        quads = np.concatenate([cell.quads for cell in cells])
        heights = np.concatenate([cell.heights for cell in cells], axis=1)
        return quads, heights, np.concatenate([cell.openings for cell in cells], axis=1)

    def snapshot(self, time: float, around: float, width: int, height: int) -> Snapshot:
        view = self.view(time, around, width, height)
        quads = self.quads(time, around)
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        to_ground = np.linalg.inv(view.ground_to_pixel()).astype(np.float32)
        gx, gz, near = (row[0] * x + (row[1] * y + row[2]) for row in to_ground)
        near = np.where(near > 1.0 / _FARTHEST_GROUND, near, 0)
        raster = Rasteriser(width, height, near)
        projected = project(quads, view)
        raster.draw(quads, projected)
        owner = raster.owner
        owner[(owner < 0) & (near <= 0)] = INFINITY
        pixels = np.flatnonzero(owner == GROUND)
        depth = 1.0 / near.reshape(-1)[pixels]
        ground = self._locate(view, pixels, gx.reshape(-1)[pixels] * depth, gz.reshape(-1)[pixels] * depth)
        label = quads[:, CLASS].astype(np.int16).astype(np.uint8).take(np.maximum(owner, 0))
        label.reshape(-1)[pixels] = self._ground_classes(ground)
        self._label_infinity(view, owner, label)
        return Snapshot(view, quads, projected, owner, raster.nearness, label, raster.shade, raster.sun_shade, ground)

    def _locate(self, view: View, pixels: NDArray[np.int64], x: NDArray[np.float32], z: NDArray[np.float32]) -> Ground:
        """World (x, z) of ground pixels to street coordinates, and what the plan says of those places."""
        k = np.float32(view.curvature)
        # lateral = 1/k - sqrt((1/k - x)^2 + z^2), written without the cancellation of nearly straight streets
        root = np.sqrt(np.maximum((1 - k * x) ** 2 + (k * z) ** 2, 0))
        lateral = (2 * x - k * (x * x + z * z)) / (1 + root)
        along = z if abs(k) < 1e-6 else np.arctan2(k * z, 1 - k * x) / k
        s = view.origin_s
        first = math.floor((s - _BEHIND) / CELL)
        _, heights, openings = self._static(first, math.floor((s + _AHEAD) / CELL))
        resolution = np.float32(SAMPLES / CELL)
        start = np.float32(s - first * CELL)
        side = (lateral > 0).astype(np.int32)

        def sample(profile: NDArray[Any], row: NDArray[np.int32] | int, ahead: NDArray[np.float32]) -> NDArray[Any]:
            column = np.clip(((ahead + start) * resolution).astype(np.int32), 0, profile.shape[1] - 1)
            return np.asarray(profile.reshape(-1).take(row * profile.shape[1] + column))

        right, up, forward = self.plan.sun
        sun_side = int(right > 0)
        distance = np.maximum(self.plan.facade[sun_side] - (1 if sun_side else -1) * lateral, 0)
        slope = float(np.hypot(right, forward)) / up
        skew = max(abs(right) / max(float(np.hypot(right, forward)), 1e-6), 0.05)
        wall = sample(heights, sun_side, along + np.float32(forward / max(abs(right), 0.05)) * distance)
        shadow = (wall * np.float32(slope * skew) - distance).astype(np.float32)
        return Ground(pixels, lateral, along, sample(openings, side, along), shadow)

    def _ground_classes(self, ground: Ground) -> NDArray[np.uint8]:
        plan = self.plan
        right = ground.lateral > 0
        out = np.abs(ground.lateral)
        road = out < np.where(right, np.float32(plan.half_road[1]), np.float32(plan.half_road[0]))
        walk = out < np.where(right, np.float32(plan.facade[1]), np.float32(plan.facade[0])) + 0.6
        classes = np.where(road | ground.opening, ROAD, np.where(walk, SIDEWALK, TREE))
        return classes.astype(np.uint8)

    def _label_infinity(self, view: View, owner: NDArray[np.int32], label: NDArray[np.uint8]) -> None:
        """Sky, and before it a far skyline of houses and trees that only turns with the camera."""
        flat = np.flatnonzero(owner == INFINITY)
        azimuth, elevation = sky_angles(view, flat)
        count = self._skyline.shape[1]
        # The rest of a tiny negative angle rounds to a whole turn, which is the first column again.
        column = ((azimuth * np.float32(1 / (2 * math.pi))) % 1.0 * count).astype(np.int32) % count
        top = self.plan.skyline * self._skyline[0].take(column)
        kind = np.where(self._skyline[1].take(column) < self.plan.skyline_trees, TREE, BUILDING)
        label.reshape(-1)[flat] = np.where(elevation > top, SKY, kind)


def sky_angles(view: View, flat: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Azimuth (radians, absolute) and tangent of the elevation of pixels given by flat indices."""
    direction = np.linalg.inv(view.projection).astype(np.float32)
    y, x = np.divmod(flat.astype(np.int32), np.int32(view.lens.width))
    x, y = x.astype(np.float32), y.astype(np.float32)
    dx, dy, dz = (row[0] * x + (row[1] * y + row[2]) for row in direction)
    turned = np.float32((view.curvature * view.origin_s) % (2 * math.pi))
    return np.arctan2(dx, dz) + turned, dy / np.hypot(dx, dz)


def _periodic_profile(dice: Dice) -> NDArray[np.float32]:
    """(2, 4096) around the horizon: relative height of the skyline, and what stands there (0 .. 1)."""
    blocks, fine = dice.array(2, 256), dice.array(2048)
    height = 0.3 + np.repeat(blocks[0], 16) + 0.25 * np.repeat(fine, 2)
    return np.stack([height, np.repeat(blocks[1], 16)]).astype(np.float32)


def backward_matrices(now: Snapshot, before: View, quads_before: Table) -> NDArray[np.float64]:
    """(Q + 2, 3, 3): pixel of ``now`` to homogeneous pixel of ``before``, by owner; the ground and infinity are last.

    The third homogeneous part is depth before / depth now. Rows that are not in the picture hold the identity.
    """
    count = len(now.quads)
    matrices: NDArray[np.float64] = np.broadcast_to(np.eye(3), (count + 2, 3, 3)).copy()
    rows = now.projected.rows
    forward = before.surface_to_pixel(*world_edges(quads_before[rows], before))
    matrices[rows] = forward @ now.projected.inverse
    matrices[count] = before.ground_to_pixel() @ np.linalg.inv(now.view.ground_to_pixel())
    matrices[count + 1] = before.projection @ np.linalg.inv(now.view.projection)
    return matrices


def backward_flow(now: Snapshot, before: View, quads_before: Table) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Flow (H, W, 2) in pixels from ``now`` into the frame before, and 1/depth (H, W) that each point had there."""
    height, width = now.owner.shape
    count = len(now.quads)
    slot = np.where(now.owner >= 0, now.owner, np.where(now.owner == GROUND, count, count + 1))
    m = backward_matrices(now, before, quads_before)
    x, y = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)[:, None]
    px, py, scale = (m[:, i, 0][slot] * x + m[:, i, 1][slot] * y + m[:, i, 2][slot] for i in range(3))
    ahead = np.where(scale > 1e-6, scale, 1e-6)  # behind the earlier camera: far outside its picture
    flow = np.stack([px / ahead - x, py / ahead - y], axis=-1)
    limit = 4.0 * max(width, height)
    return np.clip(flow, -limit, limit).astype(np.float32), (now.nearness / ahead).astype(np.float32)


def hidden_before(
    now: Snapshot, before: Snapshot, flow: NDArray[np.float32], nearness: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(H, W): pixels whose surface point lies outside the frame before or was covered there by another surface.

    ``before`` must list the same quads as ``now``, row by row.
    """
    height, width = now.owner.shape
    x = np.rint(np.arange(width) + flow[..., 0]).astype(np.int64)
    y = np.rint(np.arange(height)[:, None] + flow[..., 1]).astype(np.int64)
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    covered = (before.owner[y, x] != now.owner) & (before.nearness[y, x] > nearness * 1.001)
    return np.asarray(outside | covered)
