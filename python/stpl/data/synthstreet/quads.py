"""Everything solid in the street is a textured parallelogram: a row of numbers in one table.

A quad hangs on an anchor (s, l): s metres along the street's centre line, l metres to its right. Its corner and its
two edges are given in the street's frame at the anchor: (right, up, forward), metres. A point of the quad is
``corner + p * edge_u + q * edge_v`` with p, q in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .textures import Material

Table = NDArray[np.float64]  # (quads, COLUMNS)
Vector = Sequence[float]

S, L = 0, 1
CORNER, EDGE_U, EDGE_V = slice(2, 5), slice(5, 8), slice(8, 11)
CLASS, MATERIAL = 11, 12
REPEAT = slice(13, 15)  # texture tiles along each edge
OFFSET = slice(15, 17)  # tiles; also the seed of what differs between windows
COLOUR_A, COLOUR_B, COLOUR_S = slice(17, 20), slice(20, 23), slice(23, 26)  # linear RGB
GLOW, FLAGS = 26, 27
COLUMNS = 28

# Flags
CUTOUT, BOTH_SIDES, WINDOWS, SNOWY, SUN_DECAL = 1, 2, 4, 8, 16

# Class ids
SKY, BUILDING, POLE, ROAD, SIDEWALK, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
DECAL = -1  # a shadow on the ground: COLOUR_A[0] is its strength; it has no label of its own

Ink = tuple[Vector, Vector, Vector]  # the three colours of a quad
GREY = (0.2, 0.2, 0.2)


def quad(
    class_id: int,
    material: Material,
    corner: Vector,
    edge_u: Vector,
    edge_v: Vector,
    *,
    repeat: Vector = (1.0, 1.0),
    offset: Vector = (0.0, 0.0),
    colours: Ink = (GREY, GREY, GREY),
    glow: float = 0.0,
    flags: int = 0,
) -> list[float]:
    """One row without an anchor. Seen from outside, edge_u runs to the right and edge_v up."""
    a, b, s = colours
    return [0, 0, *corner, *edge_u, *edge_v, class_id, material, *repeat, *offset, *a, *b, *s, glow, flags]


def table(rows: Sequence[Sequence[float]]) -> Table:
    out: Table = np.array(rows, dtype=np.float64).reshape(-1, COLUMNS)
    return out


def place(rows: Table, s: float, lateral: float, reverse: bool = False) -> Table:
    """A copy of ``rows`` hung at (s, lateral), turned by 180 degrees if ``reverse``."""
    out: Table = rows.copy()
    out[:, S], out[:, L] = s, lateral
    if reverse:
        for part in (CORNER, EDGE_U, EDGE_V):
            out[:, part] *= (-1.0, 1.0, -1.0)
    return out


def box_shadow(width: float, length: float, strength: float) -> list[float]:
    """The dark patch under a thing of the given footprint, centred on its anchor."""
    w, n = width * 1.25, length * 1.12
    return quad(
        DECAL, Material.BLOB, (-w / 2, 0, -n / 2), (w, 0, 0), (0, 0, n), colours=((strength,) * 3, GREY, GREY),
        flags=BOTH_SIDES,
    )  # fmt: skip


def cast_shadow(
    material: Material, width: float, height: float, sun: Vector, strength: float, base: float = 0.0
) -> list[float]:
    """The shadow that an upright shape of ``width`` throws; ``sun`` points to it as (right, up, forward)."""
    right, up, forward = sun
    du, dv = -right / max(up, 0.2), -forward / max(up, 0.2)
    norm = max(float(np.hypot(du, dv)), 1e-3)
    across = (width * dv / norm, 0.0, -width * du / norm)
    corner = (base * du - across[0] / 2, 0.0, base * dv - across[2] / 2)
    flags = BOTH_SIDES | SUN_DECAL | (CUTOUT if material != Material.BLOB else 0)
    return quad(
        DECAL, material, corner, across, (height * du, 0, height * dv), colours=((strength,) * 3, GREY, GREY),
        flags=flags,
    )  # fmt: skip


def along_street(length: float, toward: float) -> tuple[Vector, Vector]:
    """Corner and edge_u of a wall along the street centred on its anchor; it faces right if ``toward`` > 0."""
    end = -length / 2 if toward > 0 else length / 2
    return (0.0, 0.0, end), (0.0, 0.0, -2 * end)
