"""Trees, bushes and hedges: upright planes with ragged outlines."""

from __future__ import annotations

import math

from .dice import Dice
from .palette import LEAVES
from .quads import (
    BOTH_SIDES,
    CUTOUT,
    GREY,
    SNOWY,
    TREE,
    Table,
    Vector,
    along_street,
    box_shadow,
    cast_shadow,
    quad,
    table,
)
from .textures import Material


def tree(dice: Dice, sun: Vector, season: float) -> Table:
    """Trunk and crown: crossed upright planes with ragged outlines. ``season`` 0 summer .. 1 winter (bare)."""
    height = dice.uniform(4.5, 10.0)
    spread = height * dice.uniform(0.5, 0.8)
    bole, radius = height * dice.uniform(0.22, 0.36), 0.035 * height * dice.uniform(0.7, 1.2)
    bark = (dice.colour((0.09, 0.07, 0.05), 0.4), dice.colour((0.16, 0.14, 0.11), 0.4), GREY)
    bare = dice.chance(season)
    shape = Material.CROWN_BARE if bare else dice.pick((Material.CROWN, Material.CROWN, Material.CROWN_SPARSE))
    leaf = dice.pick(LEAVES)
    leaves = (dice.colour(leaf, 0.4), dice.colour(leaf, 0.6), GREY) if not bare else bark
    flags = CUTOUT | BOTH_SIDES | SNOWY
    rows = []
    for angle in (0.0, 1.5):
        du, dw = math.cos(angle), math.sin(angle)
        stem = 2 * radius
        rows.append(
            quad(TREE, Material.BARK, (-radius * du, 0, -radius * dw), (stem * du, 0, stem * dw), (0, bole + 0.8, 0),
                 colours=bark, flags=BOTH_SIDES, repeat=(0.5, 2))
        )  # fmt: skip
    for angle in (0.3, 1.35, 2.4):
        a = angle + dice.uniform(-0.3, 0.3)
        du, dw = spread * math.cos(a), spread * math.sin(a)
        shift = dice.uniform(-0.4, 0.4)
        rows.append(
            quad(TREE, shape, (-du / 2 + shift, bole, -dw / 2), (du, 0, dw), (0, height - bole, 0), colours=leaves,
                 flags=flags)
        )  # fmt: skip
    rows.append(box_shadow(2 * radius, 2 * radius, 0.4))
    rows.append(cast_shadow(shape, spread, height - bole, sun, 0.6, bole))
    return table(rows)


def bush(dice: Dice) -> Table:
    width, height = dice.uniform(1.2, 2.8), dice.uniform(0.9, 2.2)
    leaf = dice.pick(LEAVES)
    leaves = (dice.colour(leaf, 0.4), dice.colour(leaf, 0.6), GREY)
    rows = []
    for angle in (0.2, 1.5):
        du, dw = width * math.cos(angle), width * math.sin(angle)
        corner, up = (-du / 2, -0.15 * height, -dw / 2), (0, 1.15 * height, 0)
        rows.append(
            quad(TREE, Material.CROWN, corner, (du, 0, dw), up, colours=leaves, flags=CUTOUT | BOTH_SIDES | SNOWY)
        )
    return table(rows)


def hedge(dice: Dice, length: float, toward: float) -> Table:
    """A clipped hedge along the street, its face turned to the road (``toward`` is +1 to the right)."""
    height = dice.uniform(1.0, 2.2)
    leaf = dice.pick(LEAVES)
    leaves = (dice.colour(leaf, 0.3), dice.colour(leaf, 0.5), GREY)
    corner, edge = along_street(length, toward)
    face = quad(TREE, Material.LEAVES, corner, edge, (0, height, 0), colours=leaves, repeat=(length / 3, height / 3))
    return table([face])
