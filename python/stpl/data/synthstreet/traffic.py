"""What moves by itself: endless files of cars, people and cyclists, each known at any time in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .camera import EgoMotion
from .cars import car
from .dice import Dice
from .figures import Figure, cyclist, person
from .quads import COLUMNS, CORNER, EDGE_U, EDGE_V, Table, place
from .street import StreetPlan

_NEAR, _FAR = 4.0, 130.0  # metres before and behind the camera between which movers exist
_CROSSERS, _RIDERS = 4, 5  # numbers of files; walkers have 0 to 3


@dataclass(frozen=True)
class _Member:
    """One of an endless file."""

    start: float  # place at time 0, in spacings of the file
    place: float  # 0 .. 1 across the lane
    phase: float  # radians, of the gait
    pace: float  # 0 .. 1
    figures: list[Figure]


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
        self._member = lru_cache(maxsize=1024)(self._make_member)

    def _make_car(self, lane: int, k: int) -> Table:
        return car(Dice(*self._plan.key, 5, lane, k), self._plan.sun)[0]

    def rows(self, time: float, around: float) -> Table:
        """(N, COLUMNS) quads at ``time`` of the movers near the camera at ``around`` (both in seconds)."""
        parts = self._cars(time, around) + self._people(time, around) + self._riders(time, around)
        return np.concatenate(parts) if parts else np.zeros((0, COLUMNS))

    def _file(self, lane: int, speed: float, spacing: float, time: float, around: float) -> list[tuple[float, _Member]]:
        """Members of an endless file near the camera, each with its s at ``time``."""
        camera = self._ego.travelled(around)
        first = math.floor((camera - _NEAR - speed * around) / spacing) - 1
        last = math.ceil((camera + _FAR - speed * around) / spacing)
        members = [self._member(lane, k) for k in range(first, last + 1)]
        starts = [(member.start * spacing, member) for member in members]
        near = [(s, m) for s, m in starts if camera - _NEAR < s + speed * around < camera + _FAR]
        return [(s + speed * time, member) for s, member in near]

    def _make_member(self, lane: int, k: int) -> _Member:
        dice = Dice(*self._plan.key, 6, lane, k)
        start, across, phase = k + dice.uniform(0.0, 0.6), dice.uniform(), dice.uniform(0, 6.28)
        pace = dice.uniform()
        if lane >= _RIDERS:
            figures = [cyclist(dice, self._plan.sun)]
        else:
            company = lane < _CROSSERS and dice.chance(0.33)
            figures = [person(dice, self._plan.sun) for _ in range(1 + company)]
        return _Member(start, across, phase, pace, figures)

    def _cars(self, time: float, around: float) -> list[Table]:
        plan, parts = self._plan, []
        for j, gap in enumerate(self._leaders):
            at = self._ego.travelled(time) + gap + 0.12 * gap * math.sin(0.4 * time + 2.0 * j)
            parts.append(place(self._car(0, j), at, plan.ego_lane + 0.15 * math.sin(0.5 * time + j)))
        oncoming, spacing, speed = -plan.drive_side * 0.5 * plan.lane, self._gap, -self._oncoming
        camera = self._ego.travelled(around) - speed * around
        for k in range(math.floor((camera - _NEAR) / spacing), math.ceil((camera + _FAR) / spacing) + 1):
            sway = 0.25 * math.sin(7.0 * k) + 0.1 * math.sin(0.6 * time + k)
            s = (k + 0.2 * math.sin(2.3 * k)) * spacing + speed * time
            parts.append(place(self._car(1, k), s, oncoming + sway, reverse=True))
        return parts

    def _people(self, time: float, around: float) -> list[Table]:
        plan, parts = self._plan, []
        for lane in range(4):
            side, forward = lane // 2, lane % 2 == 0
            speed = (1.15 + 0.1 * lane) * (1 if forward else -1)
            for s, member in self._file(lane, speed, self._walkers, time, around):
                out = plan.half_road[side] + plan.sidewalk[side] * (0.25 + 0.65 * member.place)
                for j, figure in enumerate(member.figures):
                    rows = figure.at(4.2 * time + member.phase + j)
                    parts.append(place(rows, s + 0.3 * j, (2 * side - 1) * (out + 0.55 * j), not forward))
        for s, member in self._file(_CROSSERS, 0.0, self._cross, time, around):
            parts.append(self._crossing(s, member, time))
        return parts

    def _crossing(self, s: float, member: _Member, time: float) -> Table:
        """Someone going to and fro across the road: a triangular wave of the lateral position."""
        width = 2.0 * max(self._plan.half_road) + 1.5
        along = (2 * width * member.place + (1.0 + 0.6 * member.pace) * time) % (2 * width)
        rightward = along < width
        lateral = (along if rightward else 2 * width - along) - width / 2
        rows = member.figures[0].at(4.2 * time + member.phase)
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
            for s, member in self._file(_RIDERS + lane, speed, self._cyclists, time, around):
                out = plan.lane + 0.5 * plan.bicycle_lane + 0.4 * (member.place - 0.5)
                rows = member.figures[0].at(6.0 * time + member.phase)
                parts.append(place(rows, s, (2 * side - 1) * out, not forward))
        return parts
