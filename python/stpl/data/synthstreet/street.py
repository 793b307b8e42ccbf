"""What stands along a street: drawn cell by cell, so that any stretch of it can be built by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import furniture, plants
from .cars import car
from .dice import Dice
from .figures import person
from .houses import house
from .palette import WALLS
from .quads import COLUMNS, Table, place

CELL = 14.0  # metres of street to a cell
SAMPLES = 28  # of a cell's profiles, one every half metre


@dataclass(frozen=True)
class Cell:
    """One stretch of street. Profiles are by side (0 left, 1 right), every half metre along the street."""

    quads: Table
    heights: NDArray[np.float32]  # (2, SAMPLES) metres of wall at the building line
    openings: NDArray[np.bool_]  # (2, SAMPLES) true where a side street begins


class StreetPlan:
    """The character of one sequence's street: its cross-section, bend, light and the habits of its builders."""

    def __init__(self, seed: int, sequence: int) -> None:
        self.key = (seed, sequence)
        dice = Dice(seed, sequence, 1)
        self.drive_side = dice.pick((-1, 1))  # the side traffic keeps to
        self.lane = dice.uniform(2.9, 3.6)
        self.bicycle_lane = dice.uniform(0.9, 1.4) if dice.chance(0.6) else 0.3
        self.parking = tuple(2.1 if dice.chance(0.5) else 0.0 for _ in range(2))
        self.half_road = tuple(self.lane + self.bicycle_lane + p for p in self.parking)
        self.sidewalk = tuple(dice.uniform(2.4, 6.0) for _ in range(2))
        self.facade = tuple(r + w for r, w in zip(self.half_road, self.sidewalk, strict=True))
        bend = dice.uniform(-1.0, 1.0)
        self.curvature = 0.004 * bend**3 + 0.0004 * bend
        self.season = dice.pick((0.0, 0.05, 0.2, 0.8))
        self.built = dice.uniform(0.35, 0.8)  # share of cells with a building
        self.green = dice.uniform(0.15, 0.7)  # trees on the sidewalk
        self.busy = dice.uniform(0.3, 1.0)  # traffic and people
        self.storeys = dice.uniform(2.0, 4.5)
        azimuth, elevation = dice.uniform(0, 2 * math.pi), math.radians(dice.uniform(14, 55))
        self.sun = (
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
            math.cos(azimuth) * math.cos(elevation),
        )
        self.walls = [dice.pick(WALLS) for _ in range(4)]
        self.lamp_side = dice.pick((0, 1))
        self.lamp_cells = dice.pick((1, 2, 2))
        self.lamp_height = dice.uniform(5.0, 8.5)
        self.centre_line = dice.pick((0, 1, 1, 2))  # none, dashed, double
        self.edge_line = dice.pick((0, 1, 2))  # none, white, double yellow
        self.ego_lane = self.drive_side * (0.5 * self.lane + dice.uniform(-0.2, 0.2))
        self.skyline = dice.uniform(0.01, 0.05)
        self.skyline_trees = dice.uniform(0.2, 0.8)
        self.paving_tone = dice.colour((0.23, 0.22, 0.2), 0.35)
        self.asphalt_tone = dice.colour((0.15, 0.15, 0.155), 0.3)
        self.cell = lru_cache(maxsize=512)(self._build_cell)

    def has_crossing(self, index: int) -> bool:
        """Whether zebra stripes cross the road in the middle of this cell."""
        return Dice(*self.key, 2, index // 6).integer(0, 9) == index % 6

    def _build_cell(self, index: int) -> Cell:
        parts: list[Table] = []
        heights = np.zeros((2, SAMPLES), dtype=np.float32)
        openings = np.zeros((2, SAMPLES), dtype=bool)
        for side in (0, 1):
            dice = Dice(*self.key, 3, side, index)
            self._add_plot(dice, side, index * CELL, parts, heights[side], openings[side])
            self._add_sidewalk(dice, side, index, parts, bool(openings[side].any()))
        return Cell(np.concatenate(parts) if parts else np.zeros((0, COLUMNS)), heights, openings)

    def _add_plot(
        self, dice: Dice, side: int, s: float, parts: list[Table], heights: NDArray[np.float32],
        openings: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """What lies behind the sidewalk: a house, a side street, or a garden with its fence."""
        sign, line = 2 * side - 1, self.facade[side]
        fate = dice.uniform()
        if fate < self.built:
            length = CELL - (dice.uniform(1.0, 3.0) if dice.chance(0.35) else 0.0)
            setback = dice.uniform(0.0, 0.5) if dice.chance(0.6) else dice.uniform(1.6, 4.5)
            height = self._add_house(dice, sign, s, length, sign * (line + setback), parts)
            heights[: int(2 * length)] = height
            if setback > 1.5 and dice.chance(0.8):
                parts.append(place(furniture.fence(dice, length, -sign), s + length / 2, sign * line))
        elif fate < self.built + 0.12:
            openings[4:-4] = True
            for edge in (0.0, CELL - 0.5):  # end walls of the houses at the corner
                self._add_house(dice, sign, s + edge, 0.5, sign * (line + 0.1), parts)
        else:
            self._add_garden(dice, sign, s, line, parts)

    def _add_garden(self, dice: Dice, sign: int, s: float, line: float, parts: list[Table]) -> None:
        border = furniture.fence if dice.chance(0.75) else plants.hedge
        parts.append(place(border(dice, CELL, -sign), s + CELL / 2, sign * line))
        for _ in range(dice.integer(1, 4)):
            at = s + dice.uniform(0, CELL)
            parts.append(place(plants.tree(dice, self.sun, self.season), at, sign * (line + dice.uniform(1.5, 6))))
        for _ in range(dice.integer(0, 3)):
            parts.append(place(plants.bush(dice), s + dice.uniform(0, CELL), sign * (line + dice.uniform(0.8, 4))))
        if dice.chance(0.5):
            self._add_house(dice, sign, s, CELL - 2, sign * (line + dice.uniform(9, 16)), parts)

    def _add_house(self, dice: Dice, sign: int, s: float, length: float, line: float, parts: list[Table]) -> float:
        """A house from ``s`` on whose front stands at ``line``; returns its height."""
        built = house(dice, sign, length, self.storeys, self.walls)
        if built.shop and dice.chance(0.5):
            parts.append(place(furniture.shop_sign(dice, -sign), s + dice.uniform(1, length - 1), line))
        parts.append(place(built.quads, s + length / 2, line))
        return built.height

    def _add_sidewalk(self, dice: Dice, side: int, index: int, parts: list[Table], corner: bool) -> None:
        """Street furniture, trees and parked cars in front of the building line."""
        s, sign, kerb = index * CELL, 2 * side - 1, self.half_road[side]
        width = self.sidewalk[side]
        if dice.chance(self.green) and not corner:
            at, out = s + dice.uniform(2, CELL - 2), kerb + dice.uniform(0.5, 0.8)
            parts.append(place(plants.tree(dice, self.sun, self.season), at, sign * out))
        if side == self.lamp_side and index % self.lamp_cells == 0:
            parts.append(place(furniture.street_lamp(dice, self.lamp_height, -sign), s, sign * (kerb + 0.4)))
        if dice.chance(0.15):
            parts.append(place(furniture.mast(dice), s + dice.uniform(0, CELL), sign * (kerb + dice.uniform(0.3, 1.2))))
        if dice.chance(0.42):
            sign_at = s + dice.uniform(0, CELL)
            reverse = sign != self.drive_side and dice.chance(0.7)
            parts.append(place(furniture.traffic_sign(dice, reverse), sign_at, sign * (kerb + dice.uniform(0.4, 0.7))))
        if dice.chance(0.12):
            for j in range(dice.integer(3, 7)):
                parts.append(place(furniture.bollard(dice), s + 1.8 * j, sign * (kerb + 0.35)))
        elif dice.chance(0.2):
            railing = furniture.fence(dice, CELL - 4, -sign)
            parts.append(place(railing, s + CELL / 2, sign * (kerb + 0.3)))
        if dice.chance(0.15):
            figure = person(dice, self.sun).at(dice.uniform(-0.4, 0.4))
            parts.append(place(figure, s + dice.uniform(1, CELL - 1), sign * (kerb + width * 0.75), dice.chance(0.5)))
        if self.has_crossing(index):
            parts.append(place(furniture.traffic_light(dice), s + CELL / 2 - 2.2, sign * (kerb + 0.4)))
        elif self.parking[side] and not corner:
            self._add_parked(dice, side, s, parts)

    def _add_parked(self, dice: Dice, side: int, s: float, parts: list[Table]) -> None:
        sign, at = 2 * side - 1, s
        while at < s + CELL - 6.0:
            if dice.chance(0.3 + 0.45 * self.busy):
                rows, length = car(dice, self.sun)
                out = self.half_road[side] - 1.05 + dice.uniform(-0.1, 0.1)
                with_traffic = (sign == self.drive_side) == dice.chance(0.92)
                parts.append(place(rows, at + length / 2 + 0.3, sign * out, not with_traffic))
            at += 6.2
