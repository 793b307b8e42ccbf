"""The things that stand and move in a street, as tables of quads around their own foot point, facing forward."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dice import Dice
from .quads import (
    BICYCLIST,
    BOTH_SIDES,
    CAR,
    CORNER,
    CUTOUT,
    EDGE_V,
    FENCE,
    GREY,
    PEDESTRIAN,
    POLE,
    SIGN,
    SNOWY,
    TREE,
    Table,
    Vector,
    box_shadow,
    cast_shadow,
    quad,
    table,
)
from .textures import Material

_PAINTS = [(0.62, 0.62, 0.6), (0.35, 0.36, 0.38), (0.12, 0.13, 0.15), (0.03, 0.03, 0.035), (0.35, 0.03, 0.03)]
_PAINTS += [(0.04, 0.08, 0.3), (0.03, 0.12, 0.08), (0.4, 0.34, 0.22), (0.55, 0.4, 0.05), (0.1, 0.25, 0.4)]
_CLOTHES = [(0.02, 0.02, 0.03), (0.03, 0.03, 0.03), (0.08, 0.07, 0.06), (0.03, 0.04, 0.08), (0.12, 0.1, 0.08), (0.05, 0.06, 0.12), (0.25, 0.04, 0.04), (0.4, 0.4, 0.38), (0.1, 0.12, 0.08)]
_CLOTHES += [(0.5, 0.45, 0.1), (0.06, 0.15, 0.35), (0.2, 0.13, 0.08), (0.15, 0.15, 0.16), (0.45, 0.2, 0.3)]
_SKIN = [(0.5, 0.3, 0.2), (0.3, 0.17, 0.1), (0.1, 0.05, 0.03), (0.55, 0.38, 0.28)]
_LEAF = [(0.05, 0.09, 0.02), (0.09, 0.12, 0.02), (0.03, 0.07, 0.02), (0.16, 0.12, 0.03), (0.2, 0.1, 0.02)]
_DARK = (0.015, 0.015, 0.017)
_GLASS = (0.06, 0.07, 0.08)
_RED_LAMP, _WHITE_LAMP = (0.45, 0.02, 0.02), (0.8, 0.8, 0.75)


def car(dice: Dice, sun: Vector) -> tuple[Table, float]:
    """A saloon or a van, and its length in metres."""
    van = dice.chance(0.22)
    length, width, height = dice.uniform(3.7, 4.7), dice.uniform(1.62, 1.8), dice.uniform(1.38, 1.55)
    if van:
        length, width, height = length + 0.6, width + 0.2, dice.uniform(1.85, 2.4)
    paint = dice.colour(dice.pick(_PAINTS), 0.25)
    coat = (paint, _DARK, _GLASS)
    w, n = width / 2, length / 2
    side = Material.VAN_SIDE if van else Material.CAR_SIDE
    flip = (0.0, 0.0)
    inset = 0.0 if van else 0.16
    rows = [
        quad(CAR, side, (w, 0, -n), (0, 0, length), (-inset, height, 0), colours=coat, flags=CUTOUT, offset=flip),
        quad(CAR, side, (-w, 0, -n), (0, 0, length), (inset, height, 0), colours=coat, flags=CUTOUT | BOTH_SIDES),
    ]
    deck = 0.95 if van else 0.6
    base, top = 0.14 * height, deck * height

    def across(z0: float, y0: float, z1: float, y1: float, material: Material, lamps: Vector, rear: bool) -> None:
        sign = 1.0 if rear else -1.0
        w0, w1 = w - inset * y0 / height, w - inset * y1 / height
        glow = 0.0 if material in (Material.GLASS, Material.PLASTER) else (1.0 if rear else 6.0)
        shine = _GLASS if material is Material.GLASS else lamps
        corner, edge = (-sign * w0, y0, z0), (sign * (w0 + w1), 0, 0)
        rows.append(
            quad(CAR, material, corner, edge, (sign * (w0 - w1) / 2, y1 - y0, z1 - z0),
                 colours=(paint, _DARK, shine), glow=glow, flags=SNOWY)
        )  # fmt: skip

    across(-n, base, -n + 0.03, top, Material.CAR_REAR, _RED_LAMP, True)
    across(n, base, n - 0.04, 0.52 * height, Material.CAR_FRONT, _WHITE_LAMP, False)
    if van:
        across(-n + 0.03, top, -n + 0.3, height, Material.PLASTER, GREY, True)
        across(n - 0.15, 0.52 * height, n * 0.6, 0.95 * height, Material.GLASS, GREY, False)
    else:
        across(-n + 0.1, top, -n + 0.24 * length, 0.97 * height, Material.GLASS, GREY, True)
        across(n * 0.45, 0.62 * height, n * 0.12, 0.98 * height, Material.GLASS, GREY, False)
        across(n - 0.04, 0.53 * height, n * 0.45, 0.63 * height, Material.PLASTER, GREY, False)
    roof = (-w + inset, 0.97 * height, -n + 0.26 * length * (not van))
    rows.append(
        quad(CAR, Material.PLASTER, roof, (width - 2 * inset, 0, 0), (0, 0, 0.34 * length + 0.4 * length * van),
             colours=coat, flags=SNOWY | BOTH_SIDES)
    )  # fmt: skip
    rows.append(box_shadow(width, length, 0.8))
    rows.append(cast_shadow(Material.BLOB, length * 0.7, height, sun, 0.55))
    return table(rows), length


@dataclass(frozen=True)
class Figure:
    """Someone who moves: the quads of the body, and limbs that swing about their joints."""

    still: Table  # limbs as if of no length, at their joints
    limbs: NDArray[np.int64]  # rows of ``still`` that swing
    length: NDArray[np.float64]  # metres, of each limb
    lean: NDArray[np.float64]  # radians forward, of each limb at rest
    swing: NDArray[np.float64]  # radians; amplitude

    def at(self, phase: float) -> Table:
        """The figure at a phase (radians) of its gait."""
        rows = self.still.copy()
        angle = self.lean + self.swing * math.sin(phase)
        down, forward = self.length * np.cos(angle), self.length * np.sin(angle)
        rows[self.limbs, CORNER.start + 1] -= down
        rows[self.limbs, CORNER.start + 2] += forward
        rows[self.limbs, EDGE_V.start + 1] = down
        rows[self.limbs, EDGE_V.start + 2] = -forward
        return rows


_Limb = tuple[float, float, float, float, float, float, float, tuple[Vector, Vector, Vector]]


def _figure(class_id: int, body: list[list[float]], limbs: list[_Limb]) -> Figure:
    """``limbs``: joint x, y, z; length; width; lean; swing; colours. Each is seen from behind and from the side."""
    rows, flags, motion = list(body), CUTOUT | BOTH_SIDES, []
    for x, y, z, length, width, lean, swing, ink in limbs:
        for corner, edge in (((x - width / 2, y, z), (width, 0, 0)), ((x, y, z - width / 2), (0, 0, width))):
            rows.append(quad(class_id, Material.LIMB, corner, edge, (0, 0, 0), colours=ink, flags=flags))
            motion.append((length, lean, swing))
    length, lean, swing = np.array(motion).T
    return Figure(table(rows), np.arange(len(body), len(rows)), length, lean, swing)


def person(dice: Dice, sun: Vector) -> Figure:
    """Someone walking forward."""
    height = dice.uniform(1.5, 1.92)
    shirt, trousers = dice.colour(dice.pick(_CLOTHES), 0.4), dice.colour(dice.pick(_CLOTHES), 0.4)
    skin, hair = dice.pick(_SKIN), dice.colour((0.06, 0.045, 0.03), 0.8)
    hip, width = 0.48 * height, dice.uniform(0.46, 0.58)
    ink, flags, torso = (shirt, skin, hair), CUTOUT | BOTH_SIDES, height - 0.48 * height + 0.03
    body = [
        quad(PEDESTRIAN, Material.BODY, (-width / 2, hip - 0.03, 0), (width, 0, 0), (0, torso, 0.03), colours=ink, flags=flags),
        quad(PEDESTRIAN, Material.BODY, (0, hip - 0.03, -0.17), (0, 0, 0.34), (0, torso, 0), colours=ink, flags=flags),
        box_shadow(0.5, 0.5, 0.5),
        cast_shadow(Material.BODY, 0.6, height, sun, 0.55),
    ]  # fmt: skip
    limbs: list[_Limb] = []
    for side in (-1, 1):
        limbs.append((side * 0.09, hip, 0, hip, 0.17, 0.0, side * 0.5, (trousers, _DARK, _DARK)))
        arm = side * (width / 2 - 0.02)
        limbs.append((arm, 0.8 * height, 0, 0.36 * height, 0.11, 0.0, -side * 0.5, (shirt, skin, skin)))
    return _figure(PEDESTRIAN, body, limbs)


def cyclist(dice: Dice, sun: Vector) -> Figure:
    """A rider on a bicycle heading forward."""
    ink = dice.colour(dice.pick(_PAINTS), 0.3)
    shirt, trousers = dice.colour(dice.pick(_CLOTHES), 0.4), dice.colour(dice.pick(_CLOTHES), 0.4)
    skin, hair = dice.pick(_SKIN), dice.colour((0.12, 0.1, 0.08), 0.8)
    cut, flat = CUTOUT | BOTH_SIDES, BOTH_SIDES
    rider, frame = (shirt, skin, hair), (_DARK, ink, ink)
    body = [
        quad(BICYCLIST, Material.BICYCLE, (0, 0, -0.85), (0, 0, 1.7), (0, 1.05, 0), colours=frame, flags=cut),
        quad(BICYCLIST, Material.PLASTER, (-0.04, 0, -0.8), (0.08, 0, 0), (0, 0.66, 0), colours=frame, flags=flat),
        quad(BICYCLIST, Material.PLASTER, (-0.28, 0.98, 0.4), (0.56, 0, 0), (0, 0.06, 0), colours=frame, flags=flat),
        quad(BICYCLIST, Material.BODY, (-0.26, 0.88, -0.25), (0.52, 0, 0), (0, 0.85, 0.3), colours=rider, flags=cut),
        quad(BICYCLIST, Material.BODY, (0, 0.88, -0.42), (0, 0, 0.36), (0, 0.85, 0.3), colours=rider, flags=cut),
        box_shadow(0.4, 1.6, 0.5),
        cast_shadow(Material.BODY, 0.8, 1.7, sun, 0.55),
    ]
    limbs: list[_Limb] = []
    for side in (-1, 1):
        limbs.append((side * 0.11, 0.92, -0.2, 0.75, 0.17, 0.45, side * 0.35, (trousers, _DARK, _DARK)))
        limbs.append((side * 0.24, 1.4, 0.0, 0.55, 0.1, 0.8, 0.0, (shirt, skin, skin)))
    return _figure(BICYCLIST, body, limbs)


def tree(dice: Dice, sun: Vector, season: float) -> Table:
    """Trunk and crown: crossed upright planes with ragged outlines. ``season`` 0 summer .. 1 winter (bare)."""
    height = dice.uniform(4.5, 10.0)
    spread = height * dice.uniform(0.5, 0.8)
    bole, radius = height * dice.uniform(0.22, 0.36), 0.035 * height * dice.uniform(0.7, 1.2)
    bark = (dice.colour((0.09, 0.07, 0.05), 0.4), dice.colour((0.16, 0.14, 0.11), 0.4), GREY)
    bare = dice.chance(season)
    shape = Material.CROWN_BARE if bare else dice.pick((Material.CROWN, Material.CROWN, Material.CROWN_SPARSE))
    leaf = dice.pick(_LEAF)
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
    leaf = dice.pick(_LEAF)
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
    leaf = dice.pick(_LEAF)
    leaves = (dice.colour(leaf, 0.3), dice.colour(leaf, 0.5), GREY)
    corner, edge = _along(length, toward)
    face = quad(TREE, Material.LEAVES, corner, edge, (0, height, 0), colours=leaves, repeat=(length / 3, height / 3))
    return table([face])


def _along(length: float, toward: float) -> tuple[Vector, Vector]:
    if toward > 0:
        return (0, 0, length / 2), (0, 0, -length)
    return (0, 0, -length / 2), (0, 0, length)


def fence(dice: Dice, length: float, toward: float) -> Table:
    """Boards, a railing or a low wall along the street, facing the road."""
    corner, edge = _along(length, toward)
    kind = dice.integer(0, 3)
    if kind == 0:
        tone = dice.colour((0.2, 0.13, 0.07), 0.4)
        ink, height, material, tile = (tone, dice.colour(tone, 0.5), GREY), dice.uniform(1.1, 1.9), Material.BOARDS, 1.8
    elif kind == 1:
        tone = dice.colour(dice.pick([(0.03, 0.03, 0.03), (0.3, 0.3, 0.3), (0.03, 0.08, 0.05)]), 0.4)
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
        quad(POLE, Material.PLASTER, (0, height - 0.1, 0), (arm, 0.12, 0), (0, 0.09, 0), colours=(ink, ink, ink), flags=BOTH_SIDES)
    )  # fmt: skip
    head = ((0.5, 0.5, 0.5), ink, (1.0, 0.75, 0.45))
    rows.append(
        quad(POLE, Material.LAMP, (arm, height - 0.05, -0.2), (0.6 * toward, 0, 0.4), (0, 0.16, 0), colours=head, glow=8.0, flags=BOTH_SIDES)
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
    field = dice.pick([(0.02, 0.08, 0.4), (0.02, 0.2, 0.08), (0.6, 0.45, 0.02), (0.5, 0.5, 0.5)])
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
        quad(SIGN, Material.TRAFFIC_LIGHT, (-0.2, 2.4, -0.1), (0.4, 0, 0), (0, 1.05, 0), colours=(_DARK, _DARK, lamp),
             glow=3.0, flags=BOTH_SIDES)
    )  # fmt: skip
    return table(rows)
