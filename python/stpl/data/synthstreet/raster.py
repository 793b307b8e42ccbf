"""Which surface each pixel sees: a depth-buffered rasteriser of parallelograms, exact and without anti-aliasing.

The inverse of a quad's surface-to-pixel matrix takes a pixel (x, y, 1) to (p, q, 1) / depth, so that p, q and 1/depth
times themselves are affine in the pixel: inside and nearest are a handful of comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .camera import View
from .quads import (
    BOTH_SIDES,
    CLASS,
    COLOUR_A,
    CORNER,
    CUTOUT,
    DECAL,
    EDGE_U,
    EDGE_V,
    FLAGS,
    MATERIAL,
    SUN_DECAL,
    L,
    S,
    Table,
)
from .textures import SIZE, cutouts

_NEAR = 0.25  # metres; nothing closer is drawn
_GRAZING = 0.012  # sine of the angle below which a surface is edge-on and left out
_FAINT = 12  # pixels of bounding box up to which shadows are left out
_SMALL = 600  # pixels of bounding box up to which quads are drawn together
Grid = NDArray[np.float32]


@dataclass
class Projected:
    """Quads in front of the camera. ``rows`` are their places in the table they came from."""

    rows: NDArray[np.int64]
    inverse: NDArray[np.float64]  # (N, 3, 3) pixel to (p, q, 1) / depth
    boxes: NDArray[np.int64]  # (N, 4) x0, y0, x1, y1, the last two exclusive


def world_edges(quads: Table, view: View) -> tuple[NDArray[np.float64], ...]:
    """Corner and edges of each quad in world coordinates, (N, 3) each."""
    s = quads[:, S]
    corner = view.to_world(s, quads[:, L]) + view.turn(s, quads[:, CORNER])
    return corner, view.turn(s, quads[:, EDGE_U]), view.turn(s, quads[:, EDGE_V])


def _bounds(matrix: NDArray[np.float64], width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pixel boxes of the parts beyond the near plane, and which quads have any inside the picture."""
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=float)
    h = np.einsum("nij,kj->nki", matrix, corners)
    ahead = np.roll(h, -1, axis=1)
    depth, next_depth = h[..., 2], ahead[..., 2]
    crossing = (depth > _NEAR) != (next_depth > _NEAR)
    share = np.where(crossing, (_NEAR - depth) / np.where(crossing, next_depth - depth, 1.0), 0.0)
    cut = h + share[..., None] * (ahead - h)
    points = np.concatenate([h, cut], axis=1)
    valid = np.concatenate([depth > _NEAR, crossing], axis=1)
    pixel = points[..., :2] / np.where(valid, points[..., 2], 1.0)[..., None]
    low = np.where(valid[..., None], pixel, np.inf).min(axis=1)
    high = np.where(valid[..., None], pixel, -np.inf).max(axis=1)
    limit = np.array([width, height])
    first = np.clip(np.ceil(np.where(np.isfinite(low), low, 1e9)), 0, limit).astype(np.int64)
    end = np.clip(np.floor(np.where(np.isfinite(high), high, -1e9)) + 1, 0, limit).astype(np.int64)
    return np.concatenate([first, end], axis=1), ((end - first) > 0).all(axis=1)


def project(quads: Table, view: View) -> Projected:
    """Drops what cannot be seen (behind, outside, edge-on, facing away) and prepares the rest."""
    corner, edge_u, edge_v = world_edges(quads, view)
    normal = np.cross(edge_u, edge_v)
    facing = np.einsum("ni,ni->n", normal, corner - view.position)
    area = np.linalg.norm(normal, axis=1)
    both = (quads[:, FLAGS].astype(np.int64) & BOTH_SIDES) > 0
    keep = np.where(both, np.abs(facing), facing) > _GRAZING * area * np.linalg.norm(corner - view.position, axis=1)
    rows = np.flatnonzero(keep)
    matrix = view.surface_to_pixel(corner[rows], edge_u[rows], edge_v[rows])
    boxes, inside = _bounds(matrix, view.lens.width, view.lens.height)
    rows, matrix, boxes = rows[inside], matrix[inside], boxes[inside]
    return Projected(rows, np.asarray(np.linalg.inv(matrix), dtype=np.float64), boxes)


def _candidates(boxes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Every pixel of every box: (which box, x, y)."""
    w = boxes[:, 2] - boxes[:, 0]
    count = w * (boxes[:, 3] - boxes[:, 1])
    which = np.repeat(np.arange(len(boxes)), count)
    rank = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    width = w[which]
    y = rank // width
    return which, boxes[which, 0] + rank - y * width, boxes[which, 1] + y


class Rasteriser:
    """Draws one picture's surfaces. After ``draw``: ``owner`` (H, W) int32 is the row of the table or -1, ``nearness``
    (H, W) float32 is 1/depth (0 where nothing was drawn), ``shade`` (H, W) float32 what shadows leave of the light on
    the ground and ``sun_shade`` what they leave of the sun."""

    def __init__(self, width: int, height: int, ground: Grid) -> None:
        """``ground`` is 1/depth of the ground, not positive where there is none."""
        self.nearness = np.maximum(ground, 0)
        self.owner = np.full((height, width), -1, dtype=np.int32)
        self.shade = np.ones((height, width), dtype=np.float32)
        self.sun_shade = np.ones((height, width), dtype=np.float32)
        self._x = np.arange(width, dtype=np.float32)
        self._y = np.arange(height, dtype=np.float32)[:, None]
        self._shapes = cutouts()

    def draw(self, quads: Table, projected: Projected) -> None:
        rows, boxes, inverse = projected.rows, projected.boxes, projected.inverse.astype(np.float32)
        flags = quads[rows, FLAGS].astype(np.int64)
        shape = np.where(flags & CUTOUT, quads[rows, MATERIAL].astype(np.int64) * SIZE * SIZE, -1)
        decal = quads[rows, CLASS] == DECAL
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        large = area > _SMALL
        middle = np.stack([boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3], np.full(len(boxes), 2)], axis=1) / 2
        nearness = np.einsum("ni,ni->n", projected.inverse[:, 2], middle)
        todo = np.flatnonzero(large & ~decal)
        for n in todo[np.argsort(-nearness[todo], kind="stable")]:  # near first: most of the far ones then end early
            self._draw_large(inverse[n], boxes[n], int(rows[n]), int(shape[n]))
        todo = np.flatnonzero(~large & ~decal)
        self._draw_small(inverse[todo], boxes[todo], rows[todo], shape[todo])
        strength = quads[rows, COLOUR_A.start].astype(np.float32)
        for n in np.flatnonzero(decal & (area > _FAINT)):
            target = self.sun_shade if flags[n] & SUN_DECAL else self.shade
            self._darken(target, inverse[n], boxes[n], int(shape[n]), float(strength[n]))

    def _inside(
        self, inverse: Grid, box: NDArray[np.int64]
    ) -> tuple[tuple[slice, slice], Grid, Grid, Grid, NDArray[np.bool_]]:
        """The window of the box; p / depth, q / depth, 1 / depth in it; and where p and q are in [0, 1]."""
        window = (slice(box[1], box[3]), slice(box[0], box[2]))
        x, y = self._x[window[1]], self._y[window[0]]
        p, q, near = (row[0] * x + (row[1] * y + row[2]) for row in inverse)
        return window, p, q, near, (p >= 0) & (p <= near) & (q >= 0) & (q <= near)

    def _draw_large(self, inverse: Grid, box: NDArray[np.int64], row: int, shape: int) -> None:
        window, p, q, near, mask = self._inside(inverse, box)
        best = self.nearness[window]
        mask &= near > best
        if shape >= 0:
            index = np.flatnonzero(mask)
            p, q, z = (plane.reshape(-1)[index] for plane in (p, q, near))
            mask.reshape(-1)[index] = self._shape(shape, p, q, z)
        np.copyto(best, near, where=mask)
        np.copyto(self.owner[window], row, where=mask)

    def _shape(self, shape: int | NDArray[np.int64], p: Grid, q: Grid, near: Grid) -> NDArray[np.bool_]:
        scale = np.float32(SIZE) / near
        u = np.minimum((p * scale).astype(np.int32), SIZE - 1)
        v = np.minimum((q * scale).astype(np.int32), SIZE - 1)
        return np.asarray(self._shapes.take(shape + v * SIZE + u))

    def _draw_small(
        self, inverse: Grid, boxes: NDArray[np.int64], rows: NDArray[np.int64], shape: NDArray[np.int64]
    ) -> None:
        """All small quads at once: their pixels are listed, tested, and written far to near."""
        if not len(rows):
            return
        which, xi, yi = _candidates(boxes)
        x, y = xi.astype(np.float32), yi.astype(np.float32)
        pixel = yi * self.owner.shape[1] + xi
        p, q, near = (inverse[which, i, 0] * x + (inverse[which, i, 1] * y + inverse[which, i, 2]) for i in range(3))
        mask = (p >= 0) & (p <= near) & (q >= 0) & (q <= near) & (near > self.nearness.reshape(-1)[pixel])
        chosen = np.flatnonzero(mask)
        cut = chosen[shape[which[chosen]] >= 0]
        mask[cut] = self._shape(shape[which[cut]], p[cut], q[cut], near[cut])
        chosen = np.flatnonzero(mask)
        chosen = chosen[np.argsort(near[chosen], kind="stable")]
        self.nearness.reshape(-1)[pixel[chosen]] = near[chosen]
        self.owner.reshape(-1)[pixel[chosen]] = rows[which[chosen]]

    def _darken(self, target: Grid, inverse: Grid, box: NDArray[np.int64], shape: int, strength: float) -> None:
        _, p, q, near, mask = self._inside(inverse, box)
        index = np.flatnonzero(mask)
        if not len(index):
            return
        p, q, near = p.reshape(-1)[index], q.reshape(-1)[index], near.reshape(-1)[index]
        if shape >= 0:
            dark = strength * self._shape(shape, p, q, near)
        else:  # a soft-edged patch
            edge = np.maximum(np.abs(2 * p / near - 1), np.abs(2 * q / near - 1))
            dark = strength * np.minimum((1 - edge) / 0.35, 1)
        y, x = np.divmod(index, box[2] - box[0])
        target[y + box[1], x + box[0]] *= 1 - dark
