"""Image pairs whose optical flow is known exactly: a procedural texture read at continuous coordinates.

The past frame is the texture on the integer grid, the current frame the same texture at `x + flow(x)`. Nothing is
resampled: `current(x) = past(x + flow(x))` up to the rounding to 8 bits. For the tests and the benchmark of flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Grid = tuple[Floats, Floats]
Motion = Callable[[Floats, Floats], Grid]  # positions (x, y) of the current frame -> (dx, dy) into the past frame


@dataclass(frozen=True)
class ExactPair:
    """Two frames of shape (H, W) uint8, `flow` (H, W, 2) of current into past, and where it can be observed at all:
    `visible` (H, W) is false where the past position is out of the frame or hidden behind another layer."""

    current: Bytes
    past: Bytes
    flow: NDArray[np.float32]
    visible: NDArray[np.bool_]


class Texture:
    """A sum of plane waves with a 1/f spectrum (wavelengths 6 to 300 pixels), plus flat cells with sharp edges."""

    def __init__(self, seed: int, waves: int = 40) -> None:
        rng = np.random.default_rng(seed)
        wavelength = np.exp(rng.uniform(np.log(6.0), np.log(300.0), waves))
        angle = rng.uniform(0.0, np.pi, waves)
        self._kx = 2 * np.pi / wavelength * np.cos(angle)
        self._ky = 2 * np.pi / wavelength * np.sin(angle)
        self._phase = rng.uniform(0.0, 2 * np.pi, waves)
        self._amplitude = np.sqrt(wavelength) / np.sqrt(np.sum(wavelength) / 2)
        self._cells = rng.uniform(0.02, 0.06, 4)
        self._offset = rng.uniform(0.0, 100.0, 2)

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Grey values in [0, 255] at the positions (x, y)."""
        value = np.zeros(np.broadcast(x, y).shape)
        for kx, ky, phase, amplitude in zip(self._kx, self._ky, self._phase, self._amplitude, strict=True):
            value += amplitude * np.sin(kx * x + ky * y + phase)
        a, b, c, d = self._cells
        stripes = np.tanh(8 * np.sin(a * x + b * y + self._offset[0]))
        cells = stripes * np.tanh(8 * np.sin(c * x - d * y + self._offset[1]))
        return np.clip(128 + 32 * value + 28 * cells, 0, 255)


def pixel_grid(height: int, width: int) -> Grid:
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    return x, y


def translation(dx: float, dy: float) -> Motion:
    return lambda x, y: (np.full_like(x, dx), np.full_like(y, dy))


def zoom_and_rotation(center: tuple[float, float], zoom: float, degrees: float) -> Motion:
    """The past position is the current one scaled by `zoom` and turned by `degrees` about `center`."""
    cosine, sine = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))

    def motion(x: Floats, y: Floats) -> Grid:
        u, v = x - center[0], y - center[1]
        return (cosine - 1) * u - sine * v, sine * u + (cosine - 1) * v

    return motion


def to_bytes(grey: Floats) -> Bytes:
    return np.round(grey).astype(np.uint8)


def render(height: int, width: int, motion: Motion, seed: int) -> ExactPair:
    """One surface filling the frame."""
    texture = Texture(seed)
    x, y = pixel_grid(height, width)
    dx, dy = motion(x, y)
    inside = in_frame(x + dx, y + dy, height, width)
    return ExactPair(
        to_bytes(texture(x + dx, y + dy)), to_bytes(texture(x, y)), np.stack([dx, dy], -1).astype(np.float32), inside
    )


def in_frame(x: Floats, y: Floats, height: int, width: int) -> NDArray[np.bool_]:
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def render_layers(height: int, width: int, background: Motion, foreground: list[Motion], seed: int) -> ExactPair:
    """Discs, each with a texture and a motion of its own, before a moving background; later ones cover earlier ones."""
    rng = np.random.default_rng(seed)
    x, y = pixel_grid(height, width)
    surfaces = [(Texture(seed), background, None)]
    for index, motion in enumerate(foreground):
        center = rng.uniform(0.2, 0.8, 2) * (width, height)
        surfaces.append((Texture(seed + 101 + index), motion, (center, rng.uniform(0.16, 0.26) * height)))

    past = np.zeros((height, width))
    current = np.zeros((height, width))
    flow = np.zeros((height, width, 2))
    owner_past = np.zeros((height, width), np.int64)  # which surface is seen
    owner = np.zeros((height, width), np.int64)
    for index, (texture, motion, disc) in enumerate(surfaces):
        dx, dy = motion(x, y)
        here, there = _covers(disc, x, y), _covers(disc, x + dx, y + dy)
        past[here], owner_past[here] = texture(x[here], y[here]), index
        current[there], owner[there] = texture((x + dx)[there], (y + dy)[there]), index
        flow[there] = np.stack([dx, dy], -1)[there]

    px, py = x + flow[..., 0], y + flow[..., 1]
    column = np.clip(np.round(px), 0, width - 1).astype(np.int64)
    row = np.clip(np.round(py), 0, height - 1).astype(np.int64)
    visible = in_frame(px, py, height, width) & (owner_past[row, column] == owner)
    return ExactPair(to_bytes(current), to_bytes(past), flow.astype(np.float32), visible)


def _covers(disc: tuple[Floats, float] | None, x: Floats, y: Floats) -> NDArray[np.bool_]:
    if disc is None:
        return np.ones(x.shape, np.bool_)
    (cx, cy), radius = disc
    return (x - cx) ** 2 + (y - cy) ** 2 <= radius**2


def motions(height: int, width: int, seed: int) -> dict[str, ExactPair]:
    """One pair for each kind of motion; magnitudes are in pixels of a 512x256 frame and grow with the width."""
    s = width / 512
    center = (0.5 * width, 0.45 * height)
    return {
        "still": render(height, width, translation(0, 0), seed),
        "translation, small": render(height, width, translation(1.3 * s, -0.7 * s), seed + 1),
        "translation, medium": render(height, width, translation(-6.4 * s, 3.1 * s), seed + 2),
        "translation, large": render(height, width, translation(27.5 * s, -9.25 * s), seed + 3),
        "zoom 4 %": render(height, width, zoom_and_rotation(center, 0.96, 0.0), seed + 4),
        "zoom 12 %": render(height, width, zoom_and_rotation(center, 1.12, 0.0), seed + 5),
        "rotation 2 degrees": render(height, width, zoom_and_rotation(center, 1.0, 2.0), seed + 6),
        "rotation 6 degrees": render(height, width, zoom_and_rotation(center, 1.0, -6.0), seed + 7),
        "two layers": render_layers(
            height, width, translation(2.5 * s, 0.5 * s), [translation(-5.5 * s, 2.25 * s)], seed + 8
        ),
        "four layers over a zoom": render_layers(
            height,
            width,
            zoom_and_rotation(center, 0.97, 0.4),
            [translation(7.5 * s, 1.0 * s), translation(-9.0 * s, -1.5 * s), zoom_and_rotation(center, 1.03, -1.0)],
            seed + 9,
        ),
    }


def end_point_error(flow: NDArray[np.float32], pair: ExactPair) -> float:
    """Mean length of the flow's error in pixels, where the true flow is observable."""
    return float(np.linalg.norm(flow - pair.flow, axis=-1)[pair.visible].mean())
