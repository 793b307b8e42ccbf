"""Small charts as SVG that lives inside a page and takes its colours from the page's style sheet.

Marks carry the classes ``series series-0`` … ``series-5``, ``grid``, ``axis``, ``raw``; see ``page.html.j2``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from stpl.data.classes import ClassSet, Color

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 12, 40
SERIES_STYLES = 6
"""Line styles that the page defines; further series start over."""


@dataclass(frozen=True)
class Series:
    """One line: its name and its points; points that are not finite leave a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f"series '{self.name}': expected as many x as y, found {len(self.x)} and {len(self.y)}")


@dataclass(frozen=True)
class _Scale:
    """A linear map of data to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    smooth: float = 0.0,
    markers: bool = False,
    marked_x: float | None = None,
    floor: float | None = None,
    hollow_x: Sequence[float] = (),
) -> str:
    """Lines over a common x axis, as ``<svg>`` markup.

    Args:
        series: at least one, with a finite point among them.
        x_label: name and unit of the axis; y_label alike.
        smooth: weight of the past in an exponential average, 0 to below 1; the raw line stays visible behind it.
        markers: also draw each point.
        marked_x: a vertical line there: what was chosen.
        floor: a horizontal line there: the least that is allowed.
        hollow_x: markers at these x are hollow: what was not chosen.

    Raises:
        ValueError: nothing to draw.
    """
    points = [(x, y) for line in series for x, y in zip(line.x, line.y, strict=True) if _finite(x, y)]
    if not points:
        raise ValueError("line_chart: expected at least one finite point, found none")
    across = [x for x, _ in points] + ([] if marked_x is None else [marked_x])
    along = [y for _, y in points] + ([] if floor is None else [floor])
    x_scale = _Scale(*_padded(across, 0.0), LEFT, WIDTH - RIGHT)
    y_scale = _Scale(*_padded(along, 0.06), HEIGHT - BOTTOM, TOP)
    parts = _axes(x_scale, y_scale, x_label, y_label)
    if floor is not None:
        y = y_scale(floor)
        parts.append(f'<line class="floor" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    if marked_x is not None:
        mark = x_scale(marked_x)
        parts.append(f'<line class="marked" x1="{mark:.1f}" x2="{mark:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for number, line in enumerate(series):
        style = f"series series-{number % SERIES_STYLES}"
        name = f"<title>{escape(line.name)}</title>"
        if smooth > 0:
            parts.append(f'<path class="{style} raw" d="{_path(line.x, line.y, x_scale, y_scale)}"/>')
        values = _smoothed(line.y, smooth)
        parts.append(f'<path class="{style}" d="{_path(line.x, values, x_scale, y_scale)}">{name}</path>')
        if markers:
            parts += _markers(line, style, x_scale, y_scale, hollow_x)
    if floor is not None:  # last, so that no line hides it
        at = f'x="{WIDTH - RIGHT - 4}" y="{y_scale(floor) - 5:.1f}"'
        parts.append(f'<text class="tick above" {at} text-anchor="end">at least {floor:g}</text>')
    label = f"{y_label} by {x_label}: {', '.join(line.name for line in series)}"
    return _svg(parts, label)


def share_chart(x: Sequence[float], shares: Sequence[Sequence[float]], classes: ClassSet, *, x_label: str) -> str:
    """How the share of each class moves: bands on top of each other that add up to 1, as ``<svg>`` markup.

    Args:
        x: T positions, ascending, such as steps.
        shares: T rows of C shares, 0 to 1.
        classes: the C classes; bands have their colours.
        x_label: name and unit of the axis.

    Raises:
        ValueError: no row, or rows that do not fit ``x`` and ``classes``.
    """
    if not shares or len(x) != len(shares) or any(len(row) != len(classes) for row in shares):
        raise ValueError(
            f"share_chart: expected {len(x)} rows of {len(classes)} shares, found rows of {[len(r) for r in shares]}"
        )
    if len(x) == 1:  # a band needs two ends
        x, shares = (x[0], x[0] + 1), (shares[0], shares[0])
    x_scale = _Scale(*_padded(x, 0.0), LEFT, WIDTH - RIGHT)
    y_scale = _Scale(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    parts = _axes(x_scale, y_scale, x_label, "share of pixels", percent=True)
    below = [0.0] * len(x)
    for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        above = [low + row[index] for low, row in zip(below, shares, strict=True)]
        upper = [f"{x_scale(a):.1f},{y_scale(min(b, 1.0)):.1f}" for a, b in zip(x, above, strict=True)]
        lower = [f"{x_scale(a):.1f},{y_scale(min(b, 1.0)):.1f}" for a, b in zip(x, below, strict=True)]
        tip = f"<title>{escape(name)}: {100 * shares[0][index]:.1f} % to {100 * shares[-1][index]:.1f} %</title>"
        outline = " ".join(upper + lower[::-1])
        parts.append(f'<polygon class="band" fill="{hex_color(color)}" points="{outline}">{tip}</polygon>')
        below = above
    return _svg(parts, "share of pixels by class")


def hex_color(color: Color) -> str:
    """``#rrggbb``"""
    return "#{:02x}{:02x}{:02x}".format(*color)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About ``wanted`` round numbers (1, 2 or 5 times a power of ten) in low .. high."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(x_scale: _Scale, y_scale: _Scale, x_label: str, y_label: str, *, percent: bool = False) -> list[str]:
    parts = []
    bottom = HEIGHT - BOTTOM
    for value in ticks(y_scale.low, y_scale.high):
        y = y_scale(value)
        text = f"{100 * value:g} %" if percent else _number(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for value in ticks(x_scale.low, x_scale.high):
        x = x_scale(value)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(value)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="label" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    height = (TOP + bottom) / 2
    parts.append(
        f'<text class="label" x="12" y="{height}" text-anchor="middle" transform="rotate(-90 12 {height})">'
        f"{escape(y_label)}</text>"
    )
    return parts


def _markers(line: Series, style: str, x_scale: _Scale, y_scale: _Scale, hollow_x: Sequence[float]) -> list[str]:
    parts = []
    for x, y in zip(line.x, line.y, strict=True):
        if _finite(x, y):
            tip = f"<title>{escape(line.name)}: {x:g}, {y:.4g}</title>"
            at = f'cx="{x_scale(x):.1f}" cy="{y_scale(y):.1f}" r="3"'
            hollow = " hollow" if x in hollow_x else ""
            parts.append(f'<circle class="{style}{hollow}" {at}>{tip}</circle>')
    return parts


def _svg(parts: Sequence[str], label: str) -> str:
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
    return head + "".join(parts) + "</svg>"


def _path(x: Sequence[float], y: Sequence[float], x_scale: _Scale, y_scale: _Scale) -> str:
    parts, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if not _finite(a, b):
            pen = "M"
            continue
        parts.append(f"{pen}{x_scale(a):.1f} {y_scale(b):.1f}")
        pen = "L"
    return "".join(parts)


def _smoothed(values: Sequence[float], weight: float) -> list[float]:
    """Exponential average; what is not finite stays as it is and is not averaged in."""
    smooth, past = [], math.nan
    for value in values:
        if not math.isfinite(value):
            smooth.append(value)
            continue
        past = value if math.isnan(past) else weight * past + (1 - weight) * value
        smooth.append(past)
    return smooth


def _padded(values: Sequence[float], share: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        reach = abs(low) * 0.1 or 1.0
        return low - reach, high + reach
    return low - share * (high - low), high + share * (high - low)


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"


def _finite(x: float, y: float) -> bool:
    return math.isfinite(x) and math.isfinite(y)
