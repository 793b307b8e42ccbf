"""How fast and how evenly the machine computes, beside what was measured on it."""

from __future__ import annotations

import arithmetic
import make_tables
import pytest
import record
from turns import milliseconds


@pytest.mark.parametrize("threads", [1, 2])
def test_arithmetic_takes_about_as_long_as_it_is_asked_to(threads):
    short, long = (min(milliseconds(arithmetic.EvenArithmetic(ms, threads)) for _ in range(9)) for ms in (2.0, 20.0))
    assert 3 < long / short < 30  # a busy machine makes either longer


def test_a_record_says_how_quick_the_machine_was():
    machine = record.machine()
    assert 0 < machine["arithmetic"]["least_ms"] <= machine["arithmetic"]["median_ms"]
    assert machine["vectors"] in ("", *record.VECTORS.values())


def test_the_page_says_it_too():
    machine = {"processor": "one", "cores": 2}
    assert make_tables.said_of(machine) == "one, 2 cores"
    machine |= {"vectors": "AVX2", "arithmetic": {"least_ms": 4.0, "median_ms": 7.0}}
    said = "one, AVX2, 2 cores, on which a fixed piece of arithmetic took 7.0 ms then, 4.0 at best"
    assert make_tables.said_of(machine) == said


def test_vectors_are_the_widest():
    assert record._vectors(["avx", "avx2", "avx512f"]) == "AVX-512"
    assert record._vectors(["fp", "asimd"]) == "NEON"
    assert record._vectors(["sse2"]) == ""
