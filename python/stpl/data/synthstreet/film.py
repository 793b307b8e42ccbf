"""Lens, weather in front of it, and sensor: from linear light to an 8-bit picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .dice import Dice
from .domains import Look
from .geometry import Snapshot
from .quads import ROAD, SIDEWALK
from .sampling import Values, gaussian_bank

_TONES = 2048  # entries of the tone curve's table
Pixels = NDArray[np.int64]
_BRIGHTEST = 2.0  # linear light at its end


class Film:
    """Develops one sequence's pictures in one look."""

    def __init__(self, look: Look) -> None:
        self._look = look
        light = np.linspace(0, 1, _TONES) ** 2 * _BRIGHTEST  # finer where it is dark
        display = (light * look.exposure) ** (1 / look.gamma) * look.contrast + look.veil
        shoulder = np.where(display > 0.85, 0.85 + 0.15 * np.tanh((display - 0.85) / 0.15), display)
        self._curve = (255 * np.clip(shoulder, 0, 1)).astype(np.float32)

    def develop(self, light: Values, snap: Snapshot, dice: Dice) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of linear ``light`` (3, H, W), which is used up. ``dice`` is the frame's own."""
        look = self._look
        if look.wet > 0:
            self._reflect(light, snap)
        if look.lamps > 0.15:
            self._bloom(light)
        if look.flakes:
            self._fall(light, dice)
        if look.streaks:
            self._rain(light, dice)
        light = _soften(light, look.blur)
        self._colour(light)
        return self._expose(light, dice)

    def _reflect(self, light: Values, snap: Snapshot) -> None:
        """Wet ground mirrors what stands on the other side of the horizon, more so at a glance."""
        height, width = snap.owner.shape
        horizon = snap.view.lens.centre_y + np.tan(snap.view.pose.pitch) * snap.view.lens.focal
        rows = np.arange(height)
        mirror = np.clip(np.rint(2 * horizon - rows), 0, height - 1).astype(int)
        share = np.clip(1.15 - (rows - horizon) / (0.9 * height), 0.25, 1) ** 2 * (rows > horizon)
        ground = ((snap.label == ROAD) | (snap.label == SIDEWALK)) & (snap.owner == -1)
        weight = (np.float32(0.5 * self._look.wet) * share.astype(np.float32)[:, None]) * ground
        ripple = (np.rint(1.5 * np.sin(rows * 1.7)).astype(int))[:, None]
        columns = np.clip(np.arange(width)[None, :] + ripple, 0, width - 1)
        light += (light[:, mirror[:, None], columns] - light) * weight

    def _bloom(self, light: Values) -> None:
        """Bright lamps spill over: the light above white, at a quarter of the size, blurred and added."""
        _, height, width = light.shape
        odd_rows, odd_columns = (height + 1) // 2 % 2, (width + 1) // 2 % 2
        padded = np.pad(light[:, ::2, ::2], ((0, 0), (0, odd_rows), (0, odd_columns)), mode="edge")
        excess = np.clip(padded - np.float32(0.9 / self._look.exposure), 0, 3)
        glow = excess.reshape(3, padded.shape[1] // 2, 2, padded.shape[2] // 2, 2).mean(axis=(2, 4))
        for _ in range(4):
            glow = _soften(glow, 0.3)
        glow = _double(_double(glow))
        light += np.float32(0.6 * min(self._look.lamps, 1.0)) * glow[:, :height, :width]

    def _fall(self, light: Values, dice: Dice) -> None:
        """Snow flakes: soft spots, few near and large, many far and small."""
        _, height, width = light.shape
        count = round(self._look.flakes * height * width / 76800)
        x, y, size, shine = dice.array(4, count)
        radius = (0.5 + 1.6 * size**4) * width / 320
        reach = int(np.ceil(2.1 * width / 320)) + 1
        span = np.arange(-reach, reach + 1)
        px = np.floor(x * width).astype(int)[:, None, None] + span[None, None, :]
        py = np.floor(y * height).astype(int)[:, None, None] + span[None, :, None]
        distance = np.hypot(px - (x * width)[:, None, None], py - (y * height)[:, None, None])
        cover = np.clip(radius[:, None, None] - distance + 0.5, 0, 1) * (0.35 + 0.5 * shine)[:, None, None]
        self._cover(light, px, py, cover, np.multiply(self._look.fog, 1.15))

    def _rain(self, light: Values, dice: Dice) -> None:
        """Rain: thin slanted streaks, a little brighter than what is behind."""
        _, height, width = light.shape
        count = round(self._look.streaks * height * width / 76800)
        x, y, length, shine = dice.array(4, count)
        slant = dice.uniform(-0.25, 0.25)
        steps = np.arange(round(0.085 * height) + 2)[None, :]
        reach = (0.02 + 0.065 * length[:, None]) * height
        px = np.floor(x[:, None] * width + slant * steps).astype(int)
        py = np.floor(y[:, None] * height).astype(int) + steps
        cover = np.clip(reach - steps, 0, 1) * (0.08 + 0.22 * shine[:, None])
        self._cover(light, px, py, cover, np.multiply(self._look.fog, 1.3))

    @staticmethod
    def _cover(light: Values, x: Pixels, y: Pixels, cover: NDArray[np.float64], colour: NDArray[np.float64]) -> None:
        """Lays ``colour`` over the pixels (x, y), the most opaque where several fall on one; others are ignored."""
        _, height, width = light.shape
        x, y = np.broadcast_arrays(x, y)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (cover > 0)
        index = (y * width + x)[inside]
        veil = np.zeros(height * width, dtype=np.float32)
        order = np.argsort(cover[inside], kind="stable")
        veil[index[order]] = cover[inside][order]
        for c in range(3):
            light[c] += (np.float32(colour[c]) - light[c]) * veil.reshape(height, width)

    def _colour(self, light: Values) -> None:
        """Saturation and white balance."""
        look = self._look
        grey = light[0] * np.float32(0.3) + light[1] * np.float32(0.59) + light[2] * np.float32(0.11)
        grey *= np.float32(1 - look.saturation)
        for c in range(3):
            light[c] *= np.float32(look.saturation * look.tint[c])
            light[c] += grey * np.float32(look.tint[c])

    def _expose(self, light: Values, dice: Dice) -> NDArray[np.uint8]:
        """Tone curve, then sensor noise: most of it in brightness, some in colour."""
        look = self._look
        _, height, width = light.shape
        flicker = np.float32((1 + 0.02 * dice.uniform(-1, 1)) / _BRIGHTEST)
        index = np.sqrt(np.clip(light * flicker, 0, 1)) * np.float32(_TONES - 1)
        display = self._curve.take(index.astype(np.int32))
        bank, size = gaussian_bank(), height * width
        shared = _cut(bank, size, dice).reshape(height, width) * np.float32(0.8 * look.noise)
        strength = np.float32(1.2) - display[1] * np.float32(0.6 / 255)  # highlights are cleaner
        shared *= strength
        strength *= np.float32(0.6 * look.noise)
        for c in range(3):
            display[c] += shared
            display[c] += _cut(bank, size, dice).reshape(height, width) * strength
        picture = np.empty((height, width, 3), dtype=np.uint8)
        np.clip(display, 0, 255, out=display)
        display += np.float32(0.5)
        picture[:] = display.transpose(1, 2, 0)
        return picture


def _cut(bank: Values, size: int, dice: Dice) -> Values:
    """``size`` values of the bank from a random place on, going round."""
    start = dice.integer(0, len(bank))
    if start + size <= len(bank):
        return bank[start : start + size]
    return np.resize(np.concatenate([bank[start:], bank[:start]]), size)


def _soften(light: Values, weight: float) -> Values:
    """The lens: a separable 3-tap blur, edges repeated."""
    side, middle = np.float32(weight), np.float32(1 - 2 * weight)
    out: Values = light * middle
    out[:, 1:] += light[:, :-1] * side
    out[:, :-1] += light[:, 1:] * side
    out[:, 0] += light[:, 0] * side
    out[:, -1] += light[:, -1] * side
    light, out = out, out * middle
    out[:, :, 1:] += light[:, :, :-1] * side
    out[:, :, :-1] += light[:, :, 1:] * side
    out[:, :, 0] += light[:, :, 0] * side
    out[:, :, -1] += light[:, :, -1] * side
    return out


def _double(light: Values) -> Values:
    """Twice the size in both directions, linear in between."""
    for axis in (1, 2):
        size = light.shape[axis]
        before = np.take(light, np.maximum(np.arange(size) - 1, 0), axis=axis)
        after = np.take(light, np.minimum(np.arange(size) + 1, size - 1), axis=axis)
        light = light * np.float32(0.75)
        pair = np.stack([light + before * np.float32(0.25), light + after * np.float32(0.25)], axis=axis + 1)
        shape = list(light.shape)
        shape[axis] *= 2
        light = pair.reshape(shape)
    return light
