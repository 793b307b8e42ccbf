"""Charts: scales, ticks, gaps, and what cannot be drawn."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from stpl.data.classes import ClassSet
from stpl.report.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, line_chart, share_chart, ticks

CLASSES = ClassSet(("road", "car & co"), ((128, 64, 128), (0, 0, 142)))


def points(path: str) -> list[tuple[str, float, float]]:
    """(command, x, y) of an SVG path of M and L."""
    return [(c, float(x), float(y)) for c, x, y in re.findall(r"([ML])([-\d.]+) ([-\d.]+)", path)]


def elements(svg: str, tag: str, **attributes: str) -> list[ET.Element]:
    found = ET.fromstring(svg).iter(tag)
    return [e for e in found if all(e.get(name) == value for name, value in attributes.items())]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.13, 0.29, [0.15, 0.2, 0.25]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0, 2000, [0, 500, 1000, 1500, 2000]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_line_spans_the_axes() -> None:
    svg = line_chart([Series("loss", [0, 50, 100], [1.0, 3.0, 2.0])], x_label="step", y_label="loss")
    (path,) = elements(svg, "path")
    (_, x0, y0), (_, x1, y1), (_, x2, y2) = points(path.attrib["d"])
    assert (x0, x1, x2) == pytest.approx((LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT))
    assert TOP < y1 < y2 < y0 < HEIGHT - BOTTOM  # larger values stand higher
    assert y2 - y1 == pytest.approx(y0 - y2, abs=0.2)


def test_values_that_are_not_finite_leave_a_gap() -> None:
    svg = line_chart([Series("a", [0, 1, 2, 3], [1.0, math.nan, 2.0, math.inf])], x_label="x", y_label="y")
    (path,) = elements(svg, "path")
    assert [command for command, _, _ in points(path.attrib["d"])] == ["M", "M"]
    assert "nan" not in svg
    assert "inf" not in svg


def test_smoothing_draws_the_raw_line_behind_its_average() -> None:
    svg = line_chart([Series("a", [0, 1, 2], [0.0, 1.0, 1.0])], x_label="x", y_label="y", smooth=0.5)
    raw, smooth = elements(svg, "path")
    assert "raw" in raw.attrib["class"]
    _, (_, _, raw_y), _ = points(raw.attrib["d"])
    _, (_, _, half), (_, _, three_quarters) = points(smooth.attrib["d"])
    assert raw_y < three_quarters < half


def test_a_constant_line_and_a_single_point_can_be_drawn() -> None:
    for x, y in (([0, 1], [2.0, 2.0]), ([5], [0.0])):
        svg = line_chart([Series("a", x, y)], x_label="x", y_label="y", markers=True)
        assert len(elements(svg, "circle")) == len(x)


def test_bands_add_up_to_the_whole_height() -> None:
    svg = share_chart([0, 10], [[0.25, 0.75], [1.0, 0.0]], CLASSES, x_label="step")
    road, car = elements(svg, "polygon")
    assert road.attrib["fill"] == "#804080"
    tops = [float(point.split(",")[1]) for point in car.attrib["points"].split()[:2]]
    assert tops == pytest.approx([TOP, TOP])
    border = [float(point.split(",")[1]) for point in road.attrib["points"].split()[:2]]
    full = HEIGHT - BOTTOM - TOP
    assert border == pytest.approx([HEIGHT - BOTTOM - 0.25 * full, TOP], abs=0.06)


def test_names_are_escaped() -> None:
    svg = share_chart([0], [[0.5, 0.5]], CLASSES, x_label="<step>")
    assert "car &amp; co" in svg
    assert "<step>" not in svg
    ET.fromstring(svg)


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one finite point"):
        line_chart([Series("a", [0], [math.nan])], x_label="x", y_label="y")
    with pytest.raises(ValueError, match="as many x as y"):
        Series("a", [0, 1], [1.0])
    with pytest.raises(ValueError, match="2 shares"):
        share_chart([0], [[0.2, 0.3, 0.5]], CLASSES, x_label="x")
