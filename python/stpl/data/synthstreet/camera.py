"""The camera on the moving car: its lens, its path through time, and the matrices between pixels and surfaces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dice import Dice

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Lens:
    """A pinhole: focal length and principal point in pixels; pixel centres at integers."""

    width: int
    height: int
    focal: float
    centre_x: float
    centre_y: float

    @property
    def matrix(self) -> Matrix:
        return np.array([[self.focal, 0, self.centre_x], [0, self.focal, self.centre_y], [0, 0, 1.0]])


@dataclass(frozen=True)
class Pose:
    """Where the camera is: s metres along the street, ``lateral`` to the right of its centre, angles in radians."""

    s: float
    lateral: float
    height: float
    yaw: float
    pitch: float
    roll: float

    def rotation(self, heading: float) -> Matrix:
        """World (right, up, forward) to camera (right, down, forward); ``heading`` is the street's own direction."""
        a, p, r = self.yaw + heading, self.pitch, self.roll
        turn = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
        tilt = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
        bank = np.array([[math.cos(r), math.sin(r), 0], [-math.sin(r), math.cos(r), 0], [0, 0, 1]])
        flip = np.diag([1.0, -1.0, 1.0])
        return np.asarray(flip @ bank @ tilt @ turn)


class EgoMotion:
    """A car's path in closed form: any time can be asked for without the times before."""

    def __init__(self, dice: Dice, lane_centre: float) -> None:
        self._speed = dice.uniform(4.0, 12.0)  # m/s, mean
        self._start = dice.uniform(0.0, 4000.0)
        self._surge = (dice.uniform(0.1, 0.45), dice.uniform(0.15, 0.5), dice.uniform(0, 6.28))
        self._sway = (dice.uniform(0.05, 0.3), dice.uniform(0.2, 0.6), dice.uniform(0, 6.28))
        self._bob = (dice.uniform(0.001, 0.005), dice.uniform(5.0, 9.0), dice.uniform(0, 6.28))
        self._turn = (dice.uniform(0.005, 0.03), dice.uniform(0.2, 0.7), dice.uniform(0, 6.28))
        self._lane = lane_centre
        self._height = dice.uniform(1.15, 1.75)
        self._yaw, self._pitch = dice.uniform(-0.05, 0.05), dice.uniform(-0.045, 0.03)
        self.angle_of_view = math.radians(dice.uniform(52.0, 74.0))

    def travelled(self, time: float) -> float:
        """Metres along the street; the speed is ``mean * (1 + surge * cos)`` and never below half the mean."""
        amount, rate, phase = self._surge
        return self._start + self._speed * (time + amount / rate * math.sin(rate * time + phase))

    def pose(self, time: float) -> Pose:
        sway, sway_rate, sway_phase = self._sway
        lateral = self._lane + sway * math.sin(sway_rate * time + sway_phase)
        drift = sway * sway_rate * math.cos(sway_rate * time + sway_phase) / self._speed
        turn, turn_rate, turn_phase = self._turn
        bob, bob_rate, bob_phase = self._bob
        shake = bob * (math.sin(bob_rate * time + bob_phase) + 0.5 * math.sin(2.7 * bob_rate * time))
        return Pose(
            s=self.travelled(time),
            lateral=lateral,
            height=self._height + 2.0 * shake,
            yaw=self._yaw + drift + turn * math.sin(turn_rate * time + turn_phase),
            pitch=self._pitch + shake,
            roll=0.4 * bob * math.sin(0.6 * bob_rate * time + turn_phase),
        )

    def lens(self, width: int, height: int) -> Lens:
        focal = 0.5 * width / math.tan(0.5 * self.angle_of_view)
        return Lens(width, height, focal, 0.5 * (width - 1), 0.5 * (height - 1))


class View:
    """A camera at one pose, in a world whose origin is the street's centre at ``origin_s``.

    ``curvature`` (1/m, positive bends to the right) is the street's; the world's z axis is its tangent at the origin.
    """

    def __init__(self, lens: Lens, pose: Pose, curvature: float, origin_s: float) -> None:
        self.lens, self.pose, self.curvature, self.origin_s = lens, pose, curvature, origin_s
        self.rotation = pose.rotation(curvature * (pose.s - origin_s))
        ground = self.to_world(np.array([pose.s]), np.array([pose.lateral]))[0]
        self.position = ground + np.array([0.0, pose.height, 0.0])
        self.projection = lens.matrix @ self.rotation  # world offset from the camera to homogeneous pixel

    def to_world(self, s: Matrix, lateral: Matrix) -> Matrix:
        """(N, 3) world points on the ground of street coordinates (s, lateral)."""
        ds = s - self.origin_s
        k = self.curvature
        if abs(k) < 1e-9:
            return np.stack([lateral, np.zeros_like(ds), ds], axis=-1)
        theta = k * ds
        # 2 sin^2(theta/2) / k instead of (1 - cos theta) / k: exact for gentle bends
        x = 2.0 * np.sin(0.5 * theta) ** 2 / k + lateral * np.cos(theta)
        return np.stack([x, np.zeros_like(ds), np.sin(theta) / k - lateral * np.sin(theta)], axis=-1)

    def turn(self, s: Matrix, vectors: Matrix) -> Matrix:
        """Vectors (N, 3) given in the street's frame at each s, in the world's frame."""
        theta = self.curvature * (s - self.origin_s)
        c, n = np.cos(theta), np.sin(theta)
        right, up, forward = vectors[:, 0], vectors[:, 1], vectors[:, 2]
        return np.stack([right * c + forward * n, up, forward * c - right * n], axis=-1)

    def surface_to_pixel(self, corner: Matrix, edge_u: Matrix, edge_v: Matrix) -> Matrix:
        """(N, 3, 3): (p, q, 1) on each parallelogram, in world coordinates, to homogeneous pixels whose third part is
        the depth."""
        basis = np.stack([edge_u, edge_v, corner - self.position], axis=-1)
        return np.asarray(self.projection @ basis)

    def ground_to_pixel(self) -> Matrix:
        """(3, 3): (x, z, 1) on the ground, world coordinates, to homogeneous pixels."""
        one = np.eye(3)[None]
        matrix: Matrix = self.surface_to_pixel(np.zeros((1, 3)), one[:, 0], one[:, 2])[0]
        return matrix
