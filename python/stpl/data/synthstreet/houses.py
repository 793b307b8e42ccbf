"""Houses: a front with windows and perhaps a shop, end walls, and perhaps a pitched roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .dice import Dice
from .palette import ROOFS, TRIMS
from .quads import BOTH_SIDES, BUILDING, GREY, SNOWY, WINDOWS, Ink, Table, Vector, along_street, quad, table
from .textures import Material

_WINDOWS = (Material.WINDOW_TALL, Material.WINDOW_WIDE, Material.WINDOW_BRICK)
_PLAIN = (Material.BRICK, Material.PLASTER, Material.STONE)


@dataclass(frozen=True)
class House:
    """Quads around the middle of the front's foot, which faces the street."""

    quads: Table
    height: float  # metres, of the front
    shop: bool


def house(dice: Dice, side: int, length: float, storeys: float, walls: Sequence[Vector]) -> House:
    """A house on the left (``side`` -1) or right (+1), its front ``length`` metres along the street.

    storeys: the street's habit; walls: colours to pick from.
    """
    storey = dice.uniform(2.7, 3.4)
    height = storey * max(1, round(storeys + dice.uniform(-1.3, 1.3)))
    depth = dice.uniform(7.0, 11.0)
    wall = dice.colour(dice.pick(walls), 0.25)
    trim, glass = dice.colour(dice.pick(TRIMS), 0.3), dice.colour((0.07, 0.085, 0.1), 0.5)
    windows, plain = dice.pick(_WINDOWS), dice.pick(_PLAIN)
    seed = (float(dice.integer(0, 97)), float(dice.integer(0, 97)))
    bays = max(1, round(length / dice.uniform(2.2, 3.6)))
    shop = length > 3 and dice.chance(0.35)
    rise = storey * 1.1 if shop else 0.0
    corner, edge = along_street(length, -side)
    floors = max(1, round((height - rise) / storey))
    rows = [
        quad(BUILDING, windows, (0, rise, corner[2]), edge, (0, height - rise, 0), repeat=(bays, floors), offset=seed,
             colours=(wall, trim, glass), glow=2.5, flags=WINDOWS)
    ]  # fmt: skip
    if shop:
        ink = (dice.colour((0.2, 0.15, 0.12), 0.8), dice.colour((0.25, 0.12, 0.1), 0.95), glass)
        repeat = (max(1, round(length / 5)), 1)
        rows.append(
            quad(BUILDING, Material.SHOP, corner, edge, (0, rise, 0), repeat=repeat, offset=seed, colours=ink, glow=4.0,
                 flags=WINDOWS)
        )  # fmt: skip
    bare = (wall, np.multiply(wall, 1.4).tolist(), glass)
    rows += _end_walls(side, length, height, depth, plain, bare)
    if dice.chance(0.6):
        rows += _pitched_roof(dice, side, length, height, depth, plain, bare)
    return House(table(rows), height, shop)


def _end_walls(side: int, length: float, height: float, depth: float, plain: Material, ink: Ink) -> list[list[float]]:
    rows = []
    for end in (-1, 1):
        start = 0.0 if side * end < 0 else depth * side
        across = -depth * end if start else depth * side
        rows.append(
            quad(BUILDING, plain, (start, 0, end * length / 2), (across, 0, 0), (0, height, 0),
                 repeat=(depth / 3, height / 3), colours=ink, flags=BOTH_SIDES)
        )  # fmt: skip
    return rows


def _pitched_roof(
    dice: Dice, side: int, length: float, height: float, depth: float, plain: Material, ink: Ink
) -> list[list[float]]:
    """The slope towards the street, and the gables: rhombi whose lower half lies in the end walls."""
    reach, rise = side * depth / 2, dice.uniform(1.8, 3.4)
    tiles = (dice.colour(dice.pick(ROOFS), 0.3), dice.colour((0.16, 0.13, 0.1), 0.3), GREY)
    corner, edge = along_street(length, -side)
    eave, up = (0.0, height, corner[2]), (reach, rise, 0)
    rows = [quad(BUILDING, Material.ROOF, eave, edge, up, repeat=(length / 4, 1), colours=tiles, flags=SNOWY)]
    for end in (-length / 2, length / 2):
        rows.append(
            quad(
                BUILDING,
                plain,
                (0, height, end),
                up,
                (reach, -rise, 0),
                repeat=(1.2, 1.2),
                colours=ink,
                flags=BOTH_SIDES,
            )
        )
    return rows
