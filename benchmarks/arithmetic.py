"""Arithmetic in registers, without memory, locks or allocations: how fast and how evenly a machine computes at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import pbkdf2_hmac
from statistics import median

from turns import milliseconds

ITERATIONS = 10_000
"""Of a measured piece: some milliseconds."""
PIECES = 60


def hash_alone(iterations: int) -> None:
    """One call into C, without Python's lock."""
    pbkdf2_hmac("sha256", b"as long as", b"a frame", iterations)


class EvenArithmetic:
    """Hashing that takes ``wanted_ms`` in the median, the same on each of ``threads`` at the same time."""

    def __init__(self, wanted_ms: float, threads: int) -> None:
        self._others = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        self._threads = threads
        self._iterations = ITERATIONS
        self._iterations = round(ITERATIONS * wanted_ms / median(milliseconds(self) for _ in range(31)))

    def __call__(self) -> None:
        pool = self._others
        others = [pool.submit(hash_alone, self._iterations) for _ in range(self._threads - 1)] if pool else []
        hash_alone(self._iterations)
        for other in others:
            other.result()


def quickness() -> dict[str, float]:
    """Milliseconds of the same piece of hashing on one thread, over and over: the least and the median.

    On a machine that does nothing else the two are nearly the same. The least says how fast it can be.
    """
    times = sorted(milliseconds(partial(hash_alone, ITERATIONS)) for _ in range(PIECES))
    return {"least_ms": times[0], "median_ms": median(times)}
