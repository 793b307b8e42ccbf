"""Everything that moves by itself: endless files of cars, people and cyclists, each known at any time in closed form."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from . import objects
from .camera import EgoMotion
from .dice import Dice
from .quads import CORNER, EDGE_U, EDGE_V, Table, place
from .street import StreetPlan

_NEAR, _FAR = 4.0, 130.0  # metres before and behind the camera between which movers exist


class Traffic:
    """The movers of one sequence. ``rows(time, around)`` always lists the same things in the same order for one
    ``around`` (the time that decides who is near), so tables of two times can be compared row by row."""

    def __init__(self, plan: StreetPlan, ego: EgoMotion) -> None:
        self._plan, self._ego = plan, ego
        dice = Dice(*plan.key, 4)
        self._oncoming = dice.uniform(5.0, 13.0)
        self._gap = dice.uniform(16.0, 45.0) / (0.4 + plan.busy)
        self._leaders = [g for g, p in ((dice.uniform(8, 20), 0.65), (dice.uniform(28, 45), 0.6)) if dice.chance(p)]
        self._walkers = dice.uniform(7.0, 26.0) / (0.3 + plan.busy)
        self._cyclists = dice.uniform(22.0, 70.0)
        self._cross = dice.uniform(30.0, 90.0)
        self._car = lru_cache(maxsize=256)(self._make_car)

    def _make_car(self, lane: int, k: int) -> Table:
        return objects.car(Dice(*self._plan.key, 5, lane, k), self._plan.sun)[0]

    def rows(self, time: float, around: float) -> Table:
        """(N, COLUMNS) quads at ``time`` of the movers near the camera at ``around`` (both in seconds)."""
        parts = self._cars(time, around) + self._people(time, around) + self._riders(time, around)
        return np.concatenate(parts) if parts else np.zeros((0, 28))

    def _file(self, lane: int, speed: float, spacing: float, time: float, around: float) -> list[tuple[int, float, Dice]]:
        """Members of an endless file near the camera: (number, s at ``time``, own dice)."""
        camera = self._ego.travelled(around)
        first = math.floor((camera - _NEAR - speed * around) / spacing) - 1
        last = math.ceil((camera + _FAR - speed * around) / spacing)
        members = []
        for k in range(first, last + 1):
            dice = Dice(*self._plan.key, 6, lane, k)
            start = (k + dice.uniform(0.0, 0.6)) * spacing
            if camera - _NEAR < start + speed * around < camera + _FAR:
                members.append((k, start + speed * time, dice))
        return members

    def _cars(self, time: float, around: float) -> list[Table]:
        plan, parts = self._plan, []
        for j, gap in enumerate(self._leaders):
            at = self._ego.travelled(time) + gap + 0.12 * gap * math.sin(0.4 * time + 2.0 * j)
            parts.append(place(self._car(0, j), at, plan.ego_lane + 0.15 * math.sin(0.5 * time + j)))
        oncoming = -plan.drive_side * 0.5 * plan.lane
        for k, s, dice in self._file(1, -self._oncoming, self._gap, time, around):
            sway = dice.uniform(-0.25, 0.25) + 0.1 * math.sin(0.6 * time + k)
            parts.append(place(self._car(1, k), s, oncoming + sway, reverse=True))
        return parts

    def _people(self, time: float, around: float) -> list[Table]:
        plan, parts = self._plan, []
        for lane in range(4):
            side, forward = lane // 2, lane % 2 == 0
            speed = (1.15 + 0.1 * lane) * (1 if forward else -1)
            for k, s, dice in self._file(10 + lane, speed, self._walkers, time, around):
                out = plan.half_road[side] + plan.sidewalk[side] * dice.uniform(0.25, 0.9)
                phase = 4.2 * time + dice.uniform(0, 6.28)
                row = place(objects.person(dice, phase, plan.sun), s, (2 * side - 1) * out, not forward)
                parts.append(row)
                if k % 3 == 0:  # company
                    friend = objects.person(dice, phase + 1.0, plan.sun)
                    parts.append(place(friend, s + 0.3, (2 * side - 1) * (out + 0.55), not forward))
        for _, s, dice in self._file(20, 0.0, self._cross, time, around):
            parts.append(self._crossing(s, dice, time))
        return parts

    def _crossing(self, s: float, dice: Dice, time: float) -> Table:
        """Someone going to and fro across the road: a triangular wave of the lateral position."""
        width = 2.0 * max(self._plan.half_road) + 1.5
        speed, start = dice.uniform(1.0, 1.6), dice.uniform(0, 2 * width)
        along = (start + speed * time) % (2 * width)
        rightward = along < width
        lateral = (along if rightward else 2 * width - along) - width / 2
        rows = objects.person(dice, 4.2 * time + start, self._plan.sun)
        rows = place(rows, s, lateral)
        for part in (CORNER, EDGE_U, EDGE_V):  # quarter turn: forward becomes right or left
            right, forward = rows[:, part.start].copy(), rows[:, part.start + 2].copy()
            sign = 1.0 if rightward else -1.0
            rows[:, part.start], rows[:, part.start + 2] = sign * forward, -sign * right
        return rows

    def _riders(self, time: float, around: float) -> list[Table]:
        plan, parts = self._plan, []
        for lane in range(2):
            side, forward = lane, (2 * lane - 1) == plan.drive_side
            speed = 4.5 if forward else -4.0
            for _, s, dice in self._file(30 + lane, speed, self._cyclists, time, around):
                out = plan.lane + 0.5 * plan.bicycle_lane + dice.uniform(-0.2, 0.2)
                phase = 6.0 * time + dice.uniform(0, 6.28)
                parts.append(place(objects.cyclist(dice, phase, plan.sun), s, (2 * side - 1) * out, not forward))
        return parts
