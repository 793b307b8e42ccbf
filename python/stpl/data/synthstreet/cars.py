"""Saloons and vans, heading forward, their foot point in the middle of the ground beneath them."""

from __future__ import annotations

from .dice import Dice
from .palette import DARK, PAINTS
from .quads import BOTH_SIDES, CAR, CUTOUT, GREY, SNOWY, Table, Vector, box_shadow, cast_shadow, quad, table
from .textures import Material

_GLASS = (0.06, 0.07, 0.08)
_RED_LAMP, _WHITE_LAMP = (0.45, 0.02, 0.02), (0.8, 0.8, 0.75)


def car(dice: Dice, sun: Vector) -> tuple[Table, float]:
    """A saloon or a van, and its length in metres."""
    van = dice.chance(0.22)
    length, width, height = dice.uniform(3.7, 4.7), dice.uniform(1.62, 1.8), dice.uniform(1.38, 1.55)
    if van:
        length, width, height = length + 0.6, width + 0.2, dice.uniform(1.85, 2.4)
    paint = dice.colour(dice.pick(PAINTS), 0.25)
    coat = (paint, DARK, _GLASS)
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
                 colours=(paint, DARK, shine), glow=glow, flags=SNOWY)
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
