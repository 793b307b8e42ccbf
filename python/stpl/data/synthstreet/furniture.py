"""What stands on sidewalks: fences, lamps, masts, bollards, signs and traffic lights."""

from __future__ import annotations

import numpy as np

from .dice import Dice
from .palette import DARK, IRON, SIGN_FIELDS
from .quads import BOTH_SIDES, CUTOUT, FENCE, GREY, POLE, SIGN, Table, Vector, along_street, box_shadow, quad, table
from .textures import Material


def fence(dice: Dice, length: float, toward: float) -> Table:
    """Boards, a railing or a low wall along the street, facing the road."""
    corner, edge = along_street(length, toward)
    kind = dice.integer(0, 3)
    if kind == 0:
        tone = dice.colour((0.2, 0.13, 0.07), 0.4)
        ink, height, material, tile = (tone, dice.colour(tone, 0.5), GREY), dice.uniform(1.1, 1.9), Material.BOARDS, 1.8
    elif kind == 1:
        tone = dice.colour(dice.pick(IRON), 0.4)
        ink, height, material, tile = (tone, tone, GREY), dice.uniform(0.9, 1.6), Material.RAILING, 1.8
    else:
        tone = dice.colour(dice.pick([(0.25, 0.12, 0.08), (0.3, 0.27, 0.22)]), 0.3)
        ink, height, material, tile = (tone, (0.3, 0.28, 0.25), GREY), dice.uniform(0.7, 1.5), Material.BRICK, 2.0
    flags = BOTH_SIDES | (0 if kind == 2 else CUTOUT)
    repeat = (max(1.0, round(length / tile)), 1.0 if kind < 2 else height / tile)
    return table([quad(FENCE, material, corner, edge, (0, height, 0), colours=ink, repeat=repeat, flags=flags)])


def _stick(class_id: int, radius: float, height: float, ink: Vector) -> list[list[float]]:
    colours = (ink, np.multiply(ink, 0.6).tolist(), GREY)
    r = radius
    return [
        quad(class_id, Material.BARK, (-r, 0, 0), (2 * r, 0, 0), (0, height, 0), colours=colours, flags=BOTH_SIDES),
        quad(class_id, Material.BARK, (0, 0, -r), (0, 0, 2 * r), (0, height, 0), colours=colours, flags=BOTH_SIDES),
    ]


def street_lamp(dice: Dice, height: float, toward: float) -> Table:
    """A lamp post whose arm reaches over the road."""
    ink = dice.colour(dice.pick([(0.12, 0.12, 0.12), (0.3, 0.3, 0.3), (0.05, 0.09, 0.07)]), 0.4)
    rows = _stick(POLE, 0.11, height, ink)
    arm = 1.4 * toward
    rows.append(
        quad(POLE, Material.PLASTER, (0, height - 0.1, 0), (arm, 0.12, 0), (0, 0.09, 0), colours=(ink, ink, ink),
             flags=BOTH_SIDES)
    )  # fmt: skip
    head = ((0.5, 0.5, 0.5), ink, (1.0, 0.75, 0.45))
    rows.append(
        quad(POLE, Material.LAMP, (arm, height - 0.05, -0.2), (0.6 * toward, 0, 0.4), (0, 0.16, 0), colours=head,
             glow=8.0, flags=BOTH_SIDES)
    )  # fmt: skip
    rows.append(box_shadow(0.3, 0.3, 0.4))
    return table(rows)


def mast(dice: Dice) -> Table:
    """A wooden or metal mast for cables."""
    ink = dice.colour(dice.pick([(0.2, 0.15, 0.1), (0.3, 0.3, 0.3), (0.08, 0.08, 0.08)]), 0.4)
    return table([*_stick(POLE, dice.uniform(0.1, 0.16), dice.uniform(5.0, 9.0), ink), box_shadow(0.3, 0.3, 0.4)])


def bollard(dice: Dice) -> Table:
    ink = dice.colour(dice.pick([(0.03, 0.03, 0.03), (0.3, 0.3, 0.28)]), 0.3)
    return table([*_stick(POLE, 0.08, dice.uniform(0.8, 1.1), ink), box_shadow(0.3, 0.3, 0.5)])


def traffic_sign(dice: Dice, reverse: bool) -> Table:
    """A sign on its post, its face towards traffic that moves forward, or its back if ``reverse``."""
    kind = dice.pick((Material.SIGN_ROUND, Material.SIGN_TRIANGLE, Material.SIGN_PANEL, Material.SIGN_PANEL))
    size = dice.uniform(0.7, 1.2)
    wide = size * (dice.uniform(1.0, 2.2) if kind is Material.SIGN_PANEL else 1.0)
    base = dice.uniform(1.9, 2.5)
    white = (0.7, 0.7, 0.7)
    field = dice.pick(SIGN_FIELDS)
    border = (0.5, 0.02, 0.02) if kind is not Material.SIGN_PANEL else field
    faces = ((0.25,) * 3,) * 3 if reverse else (white, border, white)
    rows = _stick(POLE, 0.055, base + size, (0.3, 0.3, 0.3))
    rows.append(
        quad(SIGN, kind, (-wide / 2, base, -0.07), (wide, 0, 0), (0, size, 0), colours=faces, glow=0.0,
             flags=CUTOUT | BOTH_SIDES)
    )  # fmt: skip
    return table(rows)


def shop_sign(dice: Dice, toward: float) -> Table:
    """A panel that sticks out of a facade over the sidewalk."""
    width, height, base = dice.uniform(0.7, 1.3), dice.uniform(0.7, 1.8), dice.uniform(2.8, 4.0)
    ink = (dice.colour((0.6, 0.6, 0.55), 0.3), dice.colour((0.3, 0.1, 0.1), 0.9), dice.colour((0.5, 0.5, 0.4), 0.5))
    corner = (0.0, base, 0.0) if toward > 0 else (-width, base, 0.0)
    return table([quad(SIGN, Material.SIGN_PANEL, corner, (width, 0, 0), (0, height, 0), colours=ink, glow=0.5,
                       flags=BOTH_SIDES)])  # fmt: skip


def traffic_light(dice: Dice) -> Table:
    green = dice.chance(0.6)
    lamp = (0.05, 0.6, 0.25) if green else (0.7, 0.04, 0.02)
    rows = _stick(POLE, 0.07, 2.5, (0.05, 0.05, 0.05))
    rows.append(
        quad(SIGN, Material.TRAFFIC_LIGHT, (-0.2, 2.4, -0.1), (0.4, 0, 0), (0, 1.05, 0), colours=(DARK, DARK, lamp),
             glow=3.0, flags=BOTH_SIDES)
    )  # fmt: skip
    return table(rows)
