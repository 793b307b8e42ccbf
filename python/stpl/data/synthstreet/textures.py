"""The texture atlas: small procedural materials in surface coordinates, pre-filtered so that distance does not alias.

A texel has four channels whose meaning the surface decides: R mixes the surface's two colours, G is brightness (128 is
one), B marks the special part (glass, lamps) that has a third colour and may shine, A is the cut-out shape.

Each material is stored as a *ripmap*: every combination of a halving in u and a halving in v, so a road seen at a
grazing angle is blurred along the view and stays sharp across it. Level (i, j) of a material lies at column
``2N - 2N / 2**i`` and row ``2N - 2N / 2**j`` of a square of ``2N x 2N`` texels.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache

import numpy as np

from .dice import Dice

SIZE = 128  # texels a side at the finest level
LEVELS = 8
SIDE = 2 * SIZE


class Material(IntEnum):
    PLASTER = 0
    BRICK = 1
    STONE = 2
    WINDOW_TALL = 3
    WINDOW_WIDE = 4
    SHOP = 5
    ASPHALT = 6
    PAVING = 7
    LEAVES = 8
    CROWN = 9
    CROWN_SPARSE = 10
    BARK = 11
    CAR_SIDE = 12
    CAR_REAR = 13
    CAR_FRONT = 14
    GLASS = 15
    VAN_SIDE = 16
    BODY = 17
    LIMB = 18
    BICYCLE = 19
    SIGN_ROUND = 20
    SIGN_TRIANGLE = 21
    SIGN_PANEL = 22
    TRAFFIC_LIGHT = 23
    BOARDS = 24
    RAILING = 25
    CLOUD = 26
    ROOF = 27
    LAMP = 28
    BLOB = 29
    CROWN_BARE = 30
    WINDOW_BRICK = 31


Planes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
_V, _U = np.meshgrid((np.arange(SIZE) + 0.5) / SIZE, (np.arange(SIZE) + 0.5) / SIZE, indexing="ij")
_ONE = np.ones((SIZE, SIZE))
_ZERO = np.zeros((SIZE, SIZE))


def _lattice_noise(dice: Dice, cells_u: int, cells_v: int) -> np.ndarray:
    lattice = dice.array(cells_v, cells_u)

    def axis(t: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low = np.floor(t * cells).astype(int)
        frac = t * cells - low
        return low % cells, (low + 1) % cells, frac * frac * (3 - 2 * frac)

    u0, u1, fu = axis(_U, cells_u)
    v0, v1, fv = axis(_V, cells_v)
    top = lattice[v0, u0] * (1 - fu) + lattice[v0, u1] * fu
    bottom = lattice[v1, u0] * (1 - fu) + lattice[v1, u1] * fu
    return np.asarray(top * (1 - fv) + bottom * fv)


def noise(key: int, cells: int, octaves: int = 4, stretch: int = 1) -> np.ndarray:
    """Tileable fractal value noise in [0, 1]: ``cells`` periods along v, ``stretch`` times as many along u, doubled at
    every octave."""
    dice = Dice(77, key)
    total, weight, norm = np.zeros((SIZE, SIZE)), 1.0, 0.0
    for octave in range(octaves):
        n = min(cells << octave, SIZE)
        total += weight * _lattice_noise(dice, min(n * stretch, SIZE), n)
        norm += weight
        weight *= 0.6
    total /= norm
    return np.asarray(np.clip(0.5 + (total - 0.5) * 1.8, 0, 1))


def _box(u0: float, v0: float, u1: float, v1: float) -> np.ndarray:
    return np.asarray((u0 <= _U) & (u1 >= _U) & (v0 <= _V) & (v1 >= _V), dtype=float)


def _disc(u: float, v: float, radius: float, aspect: float = 1.0) -> np.ndarray:
    return np.asarray(((_U - u) ** 2 * aspect**2 + (_V - v) ** 2) < radius**2, dtype=float)


def _bright(key: int, cells: int, amount: float, octaves: int = 4) -> np.ndarray:
    return np.asarray(1 + amount * (noise(key, cells, octaves) - 0.5))


def _plaster() -> Planes:
    return noise(1, 3), _bright(2, 16, 0.35), _ZERO, _ONE


def _bricks(key: int, rows: int, columns: int, joint: float) -> Planes:
    row = np.floor(_V * rows)
    u = _U * columns + 0.5 * (row % 2)
    joints = ((u % 1.0) < joint * columns) | ((_V * rows) % 1.0 < joint * rows)
    tone = Dice(78, key).array(rows, columns + 1)[row.astype(int), (np.floor(u) % columns).astype(int)]
    return np.where(joints, 1.0, 0.35 * tone), _bright(key, 16, 0.3) * (0.8 + 0.4 * tone), _ZERO, _ONE


def _window(u0: float, v0: float, u1: float, v1: float, panes: int, key: int, wall: Planes | None = None) -> Planes:
    mix, bright, _, _ = wall or (0.4 * noise(key, 3), _bright(key + 1, 16, 0.3), _ZERO, _ZERO)
    frame, glass = _box(u0 - 0.03, v0 - 0.03, u1 + 0.03, v1 + 0.03), _box(u0, v0, u1, v1)
    bars = ((_U - u0) / (u1 - u0) * panes) % 1.0 < 0.07 * panes / 2
    bars |= np.abs(_V - (v0 + v1) / 2) < 0.012
    glass = glass * (1 - bars)
    sill = _box(u0 - 0.06, v0 - 0.07, u1 + 0.06, v0 - 0.03)
    lintel = _box(u0 - 0.03, v1 + 0.03, u1 + 0.03, v1 + 0.08)
    mix = np.where(frame + sill + lintel > 0, 1.0, mix)
    bright = np.where(sill > 0, 1.1, np.where(lintel > 0, 0.8, bright))
    bright = np.where(glass > 0, 0.7 + 0.6 * noise(key + 2, 3, 2) + 0.25 * (_V - v0) / (v1 - v0), bright)
    return mix, bright, glass, _ONE


def _shop() -> Planes:
    glass = _box(0.05, 0.12, 0.62, 0.68) + _box(0.70, 0.04, 0.92, 0.68)
    band = _box(0.0, 0.76, 1.0, 0.97)
    letters = _box(0.12, 0.81, 0.8, 0.92) * (noise(31, 4, 3, 4) > 0.5)
    mix = np.where(band > 0, 1.0, 0.3 * noise(32, 4))
    bright = np.where(letters > 0, 1.9, _bright(33, 8, 0.3))
    return mix, np.where(glass > 0, 0.3 + 1.4 * noise(34, 6, 4), bright), glass, _ONE


def _asphalt() -> Planes:
    grain = noise(41, 32, 3)
    tar = (np.abs(noise(42, 4, 4) - 0.5) < 0.012).astype(float)
    return noise(43, 4, 5), 1 + 0.45 * (grain - 0.5) - 0.35 * tar, _ZERO, _ONE


def _leaves(key: int) -> tuple[np.ndarray, np.ndarray]:
    return np.clip(noise(key, 6, 5) * 1.2 - 0.1, 0, 1), 0.35 + 1.3 * noise(key + 1, 8, 5) * (0.75 + 0.4 * _V)


def _crown(key: int, density: float) -> Planes:
    mix, bright = _leaves(key)
    radius = np.hypot((_U - 0.5) * 2, (_V - 0.5) * 2)
    edge = 0.55 * noise(key + 2, 6, 4) + 0.25 * noise(key + 3, 16, 3)
    alpha = (radius < 0.55 + edge * 0.75) & (radius < 1) & (noise(key + 4, 10, 4) < density)
    return mix, bright * (1.05 - 0.35 * radius), _ZERO, alpha.astype(float)


def _bare_crown() -> Planes:
    """Winter tree: branches as thin level lines of stretched noise, fanning out from the bottom centre."""
    radius = np.hypot((_U - 0.5) * 2, (_V - 0.5) * 2)
    ridges = np.abs(noise(96, 5, 3) - 0.5) < 0.05
    ridges |= np.abs(noise(97, 8, 2) - 0.5) < 0.04
    ridges |= noise(98, 24, 3) > 0.68
    alpha = ridges & (radius < 0.6 + 0.5 * noise(99, 5, 3)) & (radius < 1)
    return noise(95, 6), 0.7 + 0.6 * noise(94, 16), _ZERO, alpha.astype(float)


def _bark() -> Planes:
    return noise(51, 3, 4, 4), _bright(52, 4, 0.8), _ZERO, _ONE


def _car_side(roof: tuple[tuple[float, float], ...], windows: tuple[tuple[float, float], ...], key: int) -> Planes:
    """A side view, front to the right: an outline above the sills, two wheels, glass between the given pillars."""
    top = np.interp(_U[0], [p[0] for p in roof], [p[1] for p in roof])[None, :]
    body = (_V > 0.16) & (top > _V)
    wheels = sum(_disc(u, 0.17, 0.17, 2.9) for u in (0.19, 0.81)) > 0
    hubs = sum(_disc(u, 0.17, 0.09, 2.9) for u in (0.19, 0.81)) > 0
    arches = sum(_disc(u, 0.18, 0.22, 2.9) for u in (0.19, 0.81)) > 0
    glass = sum(_box(u0, 0.58, u1, 0.92) for u0, u1 in windows) * (top - 0.07 > _V)
    seams = (np.abs(_U - 0.5) < 0.006) | (np.abs(_U - 0.27) < 0.006) | (np.abs(_V - 0.4) < 0.012)
    bright = (0.62 + 0.55 * _V) * _bright(key, 4, 0.25) * np.where(seams & body, 0.6, 1.0)
    dark = (arches & (_V < 0.42)) | wheels | (_V < 0.2)
    mix = np.where(dark, 1.0, 0.0)
    bright = np.where(hubs, 6.0, np.where(dark, 0.5, bright)) * np.where(glass > 0, 1.1, 1.0)
    return mix, np.clip(bright, 0, 1.99), glass, (body | wheels).astype(float)


def _car_rear(front: bool) -> Planes:
    lamp_v = (0.45, 0.72) if front else (0.5, 0.8)
    lamps = _box(0.04, lamp_v[0], 0.2, lamp_v[1]) + _box(0.8, lamp_v[0], 0.96, lamp_v[1])
    plate = _box(0.36, 0.32, 0.64, 0.44) if not front else _box(0.36, 0.2, 0.64, 0.3)
    dark = (_V < 0.14) | (_box(0.26, 0.42, 0.74, 0.66) * front > 0) | (np.abs(_V - 0.3) < 0.015)
    bright = np.where(plate > 0, 1.9, (0.6 + 0.55 * _V) * _bright(61, 4, 0.2))
    return np.where(dark, 1.0, 0.0), np.where(dark, 0.7, bright), lamps * 1.0, _ONE


def _body() -> Planes:
    """Head and torso of a person: R is 0 on clothes and 1 on skin, B on hair."""
    head = _disc(0.5, 0.86, 0.13, 0.62)
    hair = head * (_V > 0.88)
    half = np.interp(_V[:, 0], [0, 0.1, 0.45, 0.66, 0.72, 0.76], [0.3, 0.32, 0.3, 0.42, 0.3, 0.12])[:, None]
    torso = (np.abs(_U - 0.5) < half) & (_V < 0.75)
    folds = 0.55 + 0.9 * noise(71, 5, 4)
    return np.where(head > 0, 1.0, 0.0), np.where(head > 0, 1.0, folds), hair, ((head > 0) | torso).astype(float)


def _limb() -> Planes:
    half = np.interp(_V[:, 0], [0, 0.06, 0.1, 1.0], [0.5, 0.5, 0.28, 0.46])[:, None]
    return np.where(_V < 0.06, 1.0, 0.0), 0.6 + 0.7 * noise(73, 4, 3), _ZERO, (np.abs(_U - 0.5) < half).astype(float)


def _bicycle() -> Planes:
    """Side view of a bicycle, front to the right, u over 1.7 m and v over 1.05 m."""
    scale = 1.7 / 1.05
    ring = np.zeros((SIZE, SIZE), dtype=bool)
    for u in (0.2, 0.8):
        r = np.hypot((_U - u) * scale, _V - 0.32)
        ring |= (np.abs(r - 0.29) < 0.035) | (r < 0.05)
    bars = [(0.2, 0.32, 0.42, 0.74), (0.42, 0.74, 0.72, 0.78), (0.46, 0.3, 0.72, 0.78), (0.46, 0.3, 0.4, 0.85)]
    bars += [(0.8, 0.32, 0.72, 0.92), (0.2, 0.32, 0.46, 0.3)]
    for u0, v0, u1, v1 in bars:
        du, dv = u1 - u0, v1 - v0
        t = np.clip(((_U - u0) * du + (_V - v0) * dv) / (du * du + dv * dv), 0, 1)
        ring |= np.hypot((_U - u0 - t * du) * scale, _V - v0 - t * dv) < 0.03
    ring |= (_box(0.34, 0.83, 0.48, 0.9) + _box(0.66, 0.9, 0.78, 0.95)) > 0
    return 0.5 * noise(75, 6), _bright(76, 6, 0.4), _ZERO, ring.astype(float)


def _sign(kind: str) -> Planes:
    """Traffic signs: R = 1 on the border or field colour, special = the white part."""
    if kind == "round":
        r = np.hypot(_U - 0.5, _V - 0.5)
        alpha, inner = r < 0.49, r < 0.34
        mark = inner & (noise(81, 4, 3) > 0.62)
    elif kind == "triangle":
        alpha = (_V > 0.04) & (np.abs(_U - 0.5) < 0.5 * (1 - _V) + 0.02)
        inner = (_V > 0.17) & (np.abs(_U - 0.5) < 0.5 * (0.72 - _V) + 0.02)
        mark = inner & (np.abs(_U - 0.5) < 0.05) & (_V < 0.5)
    else:
        alpha = _ONE > 0
        inner = _box(0.05, 0.08, 0.95, 0.92) == 0
        mark = (_box(0.12, 0.18, 0.88, 0.82) > 0) & (noise(83, 5, 3, 3) > 0.56)
        inner = inner | mark
    return np.where(inner & ~mark, 0.0, 1.0), np.where(mark, 0.12, 1.0), (inner & ~mark) * 1.0, alpha * 1.0


def _traffic_light() -> Planes:
    lamps = sum(_disc(0.5, v, 0.11, 0.4) for v in (0.82, 0.5, 0.18))
    return _ZERO, np.where(np.asarray(lamps) > 0, 1.6, 0.8), _disc(0.5, 0.82, 0.11, 0.4), _ONE


def _boards() -> Planes:
    gap = (_U * 10) % 1.0 < 0.1
    tone = Dice(79, 5).array(10)[np.floor(_U * 10).astype(int) % 10]
    alpha = ((0.93 + 0.05 * (np.floor(_U * 10) % 2)) > _V).astype(float)
    return noise(85, 4, 4, 2), np.where(gap, 0.3, (0.7 + 0.5 * tone) * _bright(86, 8, 0.5)), _ZERO, alpha


def _railing() -> Planes:
    bars = ((_U * 12) % 1.0 < 0.36) | (np.abs(_V - 0.9) < 0.04) | (np.abs(_V - 0.15) < 0.04) | (_V < 0.05)
    return _ZERO, _bright(87, 8, 0.5), _ZERO, bars.astype(float)


def _cloud() -> Planes:
    return np.clip(noise(91, 2, 6) * 1.7 - 0.35, 0, 1), _bright(92, 3, 0.3, 5), noise(93, 3, 6), _ONE


def _roof() -> Planes:
    rows = (_V * 12) % 1.0
    return noise(89, 4), (0.75 + 0.4 * rows) * _bright(90, 16, 0.5), _ZERO, _ONE


def _blob() -> Planes:
    d = np.maximum(np.abs(_U - 0.5), np.abs(_V - 0.5)) * 2
    soft = np.clip((1 - d) / 0.35, 0, 1)
    return _ZERO, soft, _ZERO, _ONE


_SEDAN = ((0.0, 0.3), (0.02, 0.58), (0.12, 0.62), (0.24, 0.97), (0.56, 0.99), (0.72, 0.64), (0.95, 0.54), (1.0, 0.3))
_VAN = ((0.0, 0.3), (0.01, 0.92), (0.04, 0.98), (0.74, 0.99), (0.86, 0.62), (0.97, 0.54), (1.0, 0.3))
_WALL_STONE: Callable[[], Planes] = lambda: _bricks(22, 6, 3, 0.012)  # noqa: E731

_PAINTERS: dict[Material, Callable[[], Planes]] = {
    Material.PLASTER: _plaster,
    Material.BRICK: lambda: _bricks(21, 16, 6, 0.012),
    Material.STONE: _WALL_STONE,
    Material.WINDOW_TALL: lambda: _window(0.3, 0.22, 0.7, 0.8, 2, 23),
    Material.WINDOW_WIDE: lambda: _window(0.1, 0.3, 0.9, 0.82, 3, 26, _WALL_STONE()),
    Material.WINDOW_BRICK: lambda: _window(0.28, 0.25, 0.72, 0.78, 2, 29, _bricks(24, 32, 12, 0.007)),
    Material.SHOP: _shop,
    Material.ASPHALT: _asphalt,
    Material.PAVING: lambda: _bricks(44, 4, 4, 0.012),
    Material.LEAVES: lambda: (*_leaves(45), _ZERO, _ONE),
    Material.CROWN: lambda: _crown(46, 0.85),
    Material.CROWN_SPARSE: lambda: _crown(54, 0.58),
    Material.CROWN_BARE: _bare_crown,
    Material.BARK: _bark,
    Material.CAR_SIDE: lambda: _car_side(_SEDAN, ((0.15, 0.4), (0.43, 0.68)), 62),
    Material.VAN_SIDE: lambda: _car_side(_VAN, ((0.66, 0.84),), 63),
    Material.CAR_REAR: lambda: _car_rear(False),
    Material.CAR_FRONT: lambda: _car_rear(True),
    Material.GLASS: lambda: (_ZERO, 0.6 + 0.8 * noise(64, 3), _box(0.04, 0.04, 0.96, 0.96), _ONE),
    Material.BODY: _body,
    Material.LIMB: _limb,
    Material.BICYCLE: _bicycle,
    Material.SIGN_ROUND: lambda: _sign("round"),
    Material.SIGN_TRIANGLE: lambda: _sign("triangle"),
    Material.SIGN_PANEL: lambda: _sign("panel"),
    Material.TRAFFIC_LIGHT: _traffic_light,
    Material.BOARDS: _boards,
    Material.RAILING: _railing,
    Material.CLOUD: _cloud,
    Material.ROOF: _roof,
    Material.LAMP: lambda: (_ZERO, _ONE, _ONE, _ONE),
    Material.BLOB: _blob,
}


def _ripmap(planes: Planes) -> np.ndarray:
    """(SIDE, SIDE, 4) uint8: all levels of one material."""
    mix, bright, special, alpha = planes
    base = np.stack([mix * 255, np.clip(bright, 0, 1.99) * 128, special * 255, alpha * 255], axis=-1)
    out = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    for j in range(LEVELS):
        across = base
        for i in range(LEVELS):
            y, x = SIDE - (SIDE >> j), SIDE - (SIDE >> i)
            out[y : y + (SIZE >> j), x : x + (SIZE >> i)] = np.rint(across)
            across = across.reshape(across.shape[0], -1, 2, 4).mean(axis=2) if i + 1 < LEVELS else across
        base = base.reshape(-1, 2, base.shape[1], 4).mean(axis=1) if j + 1 < LEVELS else base
    return out


@lru_cache(maxsize=1)
def atlas() -> np.ndarray:
    """All ripmaps as packed texels: uint32 of length ``len(Material) * SIDE * SIDE``."""
    maps = np.stack([_ripmap(_PAINTERS[material]()) for material in Material])
    return maps.view(np.uint32).reshape(-1)


@lru_cache(maxsize=1)
def cutouts() -> np.ndarray:
    """bool of length ``len(Material) * SIZE * SIZE``: the shapes, at the finest level."""
    shapes = atlas().view(np.uint8).reshape(len(Material), SIDE, SIDE, 4)[:, :SIZE, :SIZE, 3]
    return np.ascontiguousarray(shapes > 127).reshape(-1)
