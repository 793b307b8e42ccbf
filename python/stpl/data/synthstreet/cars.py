"""Saloons and vans, heading forward, their foot point in the middle of the ground beneath them."""

from __future__ import annotations

from dataclasses import dataclass

from .dice import Dice
from .palette import DARK, PAINTS
from .quads import BOTH_SIDES, CAR, CUTOUT, GREY, SNOWY, Table, Vector, box_shadow, cast_shadow, quad, table
from .textures import Material

_GLASS = (0.06, 0.07, 0.08)
_RED_LAMP, _WHITE_LAMP = (0.45, 0.02, 0.02), (0.8, 0.8, 0.75)
_REAR_GLOW, _FRONT_GLOW = 1.0, 6.0


@dataclass(frozen=True)
class _Body:
    """Measures in metres. The sides lean inwards by ``inset`` from the ground to ``height``."""

    length: float
    width: float
    height: float
    inset: float
    paint: Vector

    def across(
        self,
        low: tuple[float, float],
        high: tuple[float, float],
        material: Material,
        *,
        rear: bool,
        lamp: Vector = GREY,
    ) -> list[float]:
        """A panel from side to side, between (forward, up) ``low`` and ``high``, facing backwards if ``rear``."""
        sign = 1.0 if rear else -1.0
        (z0, y0), (z1, y1) = low, high
        w0, w1 = (self.width / 2 - self.inset * y / self.height for y in (y0, y1))
        glow = 0.0 if material in (Material.GLASS, Material.PLASTER) else (_REAR_GLOW if rear else _FRONT_GLOW)
        shine = _GLASS if material is Material.GLASS else lamp
        return quad(
            CAR, material, (-sign * w0, y0, z0), (sign * (w0 + w1), 0, 0), (sign * (w0 - w1) / 2, y1 - y0, z1 - z0),
            colours=(self.paint, DARK, shine), glow=glow, flags=SNOWY,
        )  # fmt: skip


def car(dice: Dice, sun: Vector) -> tuple[Table, float]:
    """A saloon or a van, and its length in metres. ``sun`` points to the sun: (right, up, forward)."""
    van = dice.chance(0.22)
    length, width, height = dice.uniform(3.7, 4.7), dice.uniform(1.62, 1.8), dice.uniform(1.38, 1.55)
    if van:
        length, width, height = length + 0.6, width + 0.2, dice.uniform(1.85, 2.4)
    body = _Body(length, width, height, 0.0 if van else 0.16, dice.colour(dice.pick(PAINTS), 0.25))
    coat, w, n, inset = (body.paint, DARK, _GLASS), width / 2, length / 2, body.inset
    side = Material.VAN_SIDE if van else Material.CAR_SIDE
    rows = [
        quad(CAR, side, (w, 0, -n), (0, 0, length), (-inset, height, 0), colours=coat, flags=CUTOUT),
        quad(CAR, side, (-w, 0, -n), (0, 0, length), (inset, height, 0), colours=coat, flags=CUTOUT | BOTH_SIDES),
        *(_van_panels(body) if van else _saloon_panels(body)),
    ]
    corner = (-w + inset, 0.97 * height, -n + (0.0 if van else 0.26 * length))
    roof = (0, 0, 0.34 * length + (0.4 * length if van else 0.0))
    flags = SNOWY | BOTH_SIDES
    rows += [
        quad(CAR, Material.PLASTER, corner, (width - 2 * inset, 0, 0), roof, colours=coat, flags=flags),
        box_shadow(width, length, 0.8),
        cast_shadow(Material.BLOB, length * 0.7, height, sun, 0.55),
    ]
    return table(rows), length


def _van_panels(body: _Body) -> list[list[float]]:
    n, h = body.length / 2, body.height
    base, top, hood = 0.14 * h, 0.95 * h, 0.52 * h
    return [
        body.across((-n, base), (-n + 0.03, top), Material.CAR_REAR, rear=True, lamp=_RED_LAMP),
        body.across((n, base), (n - 0.04, hood), Material.CAR_FRONT, rear=False, lamp=_WHITE_LAMP),
        body.across((-n + 0.03, top), (-n + 0.3, h), Material.PLASTER, rear=True),
        body.across((n - 0.15, hood), (n * 0.6, top), Material.GLASS, rear=False),
    ]


def _saloon_panels(body: _Body) -> list[list[float]]:
    n, h = body.length / 2, body.height
    base, deck = 0.14 * h, 0.6 * h
    return [
        body.across((-n, base), (-n + 0.03, deck), Material.CAR_REAR, rear=True, lamp=_RED_LAMP),
        body.across((n, base), (n - 0.04, 0.52 * h), Material.CAR_FRONT, rear=False, lamp=_WHITE_LAMP),
        body.across((-n + 0.1, deck), (-n + 0.24 * body.length, 0.97 * h), Material.GLASS, rear=True),
        body.across((n * 0.45, 0.62 * h), (n * 0.12, 0.98 * h), Material.GLASS, rear=False),
        body.across((n - 0.04, 0.53 * h), (n * 0.45, 0.63 * h), Material.PLASTER, rear=False),
    ]
