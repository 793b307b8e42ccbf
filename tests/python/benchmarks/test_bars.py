"""Verdicts and growth exponents: what decides over "met"."""

from __future__ import annotations

import math

import pytest
from bars import Bar, growth_exponent, verdict


@pytest.mark.parametrize(
    ("value", "bar", "cells"),
    [
        (1.049, Bar(1.05), ["≤ 1.05", "met"]),
        (1.05, Bar(1.05), ["≤ 1.05", "met"]),
        (1.0501, Bar(1.05), ["≤ 1.05", "not met"]),
        (3.5, Bar(3.5, at_least=True), ["≥ 3.5", "met"]),
        (3.49, Bar(3.5, at_least=True), ["≥ 3.5", "not met"]),
        (math.nan, Bar(1), ["≤ 1", "not met"]),
        (math.nan, Bar(1, at_least=True), ["≥ 1", "not met"]),
        (None, Bar(1), ["≤ 1", "not measured"]),
        (7.0, None, ["", ""]),
    ],
)
def test_a_verdict_follows_from_the_value(value, bar, cells):
    assert verdict(value, bar) == cells


@pytest.mark.parametrize(
    ("sizes", "costs", "exponent"),
    [((1, 8), (2.0, 16.0), 1.0), ((1, 4), (1.0, 16.0), 2.0), ((11, 150), (3.0, 3.0), 0.0), ((1, 4), (4.0, 2.0), -0.5)],
)
def test_the_exponent_of_a_power_is_found(sizes, costs, exponent):
    assert growth_exponent(sizes, costs) == pytest.approx(exponent)


@pytest.mark.parametrize(("sizes", "costs"), [((1, 1), (1.0, 2.0)), ((1, 2), (0.0, 1.0)), ((0, 2), (1.0, 1.0))])
def test_no_exponent_is_made_up(sizes, costs):
    with pytest.raises(ValueError, match="positive costs of two sizes"):
        growth_exponent(sizes, costs)
