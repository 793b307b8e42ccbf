"""People on foot and on bicycles: bodies whose limbs swing with the gait."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dice import Dice
from .palette import CLOTHES, DARK, PAINTS, SKIN
from .quads import (
    BICYCLIST,
    BOTH_SIDES,
    CORNER,
    CUTOUT,
    EDGE_V,
    PEDESTRIAN,
    Ink,
    Table,
    Vector,
    box_shadow,
    cast_shadow,
    quad,
    table,
)
from .textures import Material


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
        rows: Table = self.still.copy()
        angle = self.lean + self.swing * math.sin(phase)
        down, forward = self.length * np.cos(angle), self.length * np.sin(angle)
        rows[self.limbs, CORNER.start + 1] -= down
        rows[self.limbs, CORNER.start + 2] += forward
        rows[self.limbs, EDGE_V.start + 1] = down
        rows[self.limbs, EDGE_V.start + 2] = -forward
        return rows


class _Limb(NamedTuple):
    joint: Vector
    length: float
    width: float
    lean: float
    swing: float
    ink: Ink


def _figure(class_id: int, body: list[list[float]], limbs: list[_Limb]) -> Figure:
    """Each limb is two quads: seen from behind, and from the side."""
    rows, flags, motion = list(body), CUTOUT | BOTH_SIDES, []
    for (x, y, z), length, width, lean, swing, ink in limbs:
        for corner, edge in (((x - width / 2, y, z), (width, 0, 0)), ((x, y, z - width / 2), (0, 0, width))):
            rows.append(quad(class_id, Material.LIMB, corner, edge, (0, 0, 0), colours=ink, flags=flags))
            motion.append((length, lean, swing))
    length, lean, swing = np.array(motion).T
    return Figure(table(rows), np.arange(len(body), len(rows)), length, lean, swing)


def person(dice: Dice, sun: Vector) -> Figure:
    """Someone walking forward."""
    height = dice.uniform(1.5, 1.92)
    shirt, trousers = dice.colour(dice.pick(CLOTHES), 0.4), dice.colour(dice.pick(CLOTHES), 0.4)
    skin, hair = dice.pick(SKIN), dice.colour((0.06, 0.045, 0.03), 0.8)
    hip, width = 0.48 * height, dice.uniform(0.46, 0.58)
    ink, flags = (shirt, skin, hair), CUTOUT | BOTH_SIDES
    low, torso = hip - 0.03, height - 0.48 * height + 0.03
    trunk = (0, torso, 0.03)
    body = [
        quad(PEDESTRIAN, Material.BODY, (-width / 2, low, 0), (width, 0, 0), trunk, colours=ink, flags=flags),
        quad(PEDESTRIAN, Material.BODY, (0, low, -0.17), (0, 0, 0.34), (0, torso, 0), colours=ink, flags=flags),
        box_shadow(0.5, 0.5, 0.5),
        cast_shadow(Material.BODY, 0.6, height, sun, 0.55),
    ]  # fmt: skip
    limbs: list[_Limb] = []
    for side in (-1, 1):
        limbs.append(_Limb((side * 0.09, hip, 0), hip, 0.17, 0.0, side * 0.5, (trousers, DARK, DARK)))
        arm = side * (width / 2 - 0.02)
        limbs.append(_Limb((arm, 0.8 * height, 0), 0.36 * height, 0.11, 0.0, -side * 0.5, (shirt, skin, skin)))
    return _figure(PEDESTRIAN, body, limbs)


def cyclist(dice: Dice, sun: Vector) -> Figure:
    """A rider on a bicycle heading forward."""
    ink = dice.colour(dice.pick(PAINTS), 0.3)
    shirt, trousers = dice.colour(dice.pick(CLOTHES), 0.4), dice.colour(dice.pick(CLOTHES), 0.4)
    skin, hair = dice.pick(SKIN), dice.colour((0.12, 0.1, 0.08), 0.8)
    cut, flat = CUTOUT | BOTH_SIDES, BOTH_SIDES
    rider, frame = (shirt, skin, hair), (DARK, ink, ink)
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
        limbs.append(_Limb((side * 0.11, 0.92, -0.2), 0.75, 0.17, 0.45, side * 0.35, (trousers, DARK, DARK)))
        limbs.append(_Limb((side * 0.24, 1.4, 0.0), 0.55, 0.1, 0.8, 0.0, (shirt, skin, skin)))
    return _figure(BICYCLIST, body, limbs)
