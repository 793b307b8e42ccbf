"""What a long run must not gather: memory, threads, open files; sampled, and judged by how they grow."""

from __future__ import annotations

import ctypes
import gc
import resource
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median

MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """What the process holds, `seconds` after the run began."""

    seconds: float
    rss: int
    threads: int
    files: int


def sample(seconds: float) -> Sample:
    """Now, after all that nobody uses has been given back: what is left is in use, or leaked."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Sample(seconds, pages * resource.getpagesize(), threads, files)


def slope(samples: list[Sample]) -> float:
    """Bytes of memory a second: the median over all pairs (Theil and Sen), which single jumps do not move."""
    if len(samples) > 300:
        samples = samples[:: len(samples) // 150]
    pairs = [(b.rss - a.rss) / (b.seconds - a.seconds) for a, b in combinations(samples, 2) if b.seconds > a.seconds]
    return median(pairs) if pairs else 0.0


def settled(samples: list[Sample], warm_up: float) -> list[Sample]:
    """Those of the run proper: the first seconds fill caches and pools."""
    return [each for each in samples if each.seconds >= warm_up]


def faults(samples: list[Sample], allowed_growth: int) -> list[str]:
    """What grew that must not, in words; samples after the warm-up.

    Args:
        allowed_growth: bytes by which memory may grow from the first sample to the last, by its slope and by the
            medians of its first and last quarter.
    """
    if len(samples) < 4:
        return [f"expected at least 4 samples after the warm-up, found {len(samples)}"]
    found = []
    by_slope = slope(samples) * (samples[-1].seconds - samples[0].seconds)
    quarter = len(samples) // 4
    by_quarters = median(s.rss for s in samples[-quarter:]) - median(s.rss for s in samples[:quarter])
    for name, growth in (("slope", by_slope), ("first to last quarter", by_quarters)):
        if growth > allowed_growth:
            found.append(f"memory grew by {growth / MIB:.1f} MiB ({name}); allowed: {allowed_growth / MIB:.1f}")
    for name, values in (("threads", [s.threads for s in samples]), ("open files", [s.files for s in samples])):
        if max(values) != min(values):
            found.append(f"{name}: expected a constant number, found {min(values)} to {max(values)}")
    return found
