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
MALLINFO = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO)


@dataclass(frozen=True)
class Sample:
    """What the process holds, `seconds` after the run began.

    Attributes:
        rss: bytes of memory that it occupies, the holes between what is in use included.
        used: bytes that are in use by the C library's allocator; where it does not tell, `rss`.
    """

    seconds: float
    rss: int
    used: int
    threads: int
    files: int


def sample(seconds: float) -> Sample:
    """Now, after all that nobody uses has been given back: what is left is in use, or leaked."""
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc's alone
        library.malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    rss = used = pages * resource.getpagesize()
    if hasattr(library, "mallinfo2"):
        library.mallinfo2.restype = _Mallinfo
        info = library.mallinfo2()
        used = info.uordblks + info.hblkhd
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Sample(seconds, rss, used, threads, files)


def slope(times: list[float], values: list[int]) -> float:
    """Units a second: the median over all pairs (Theil and Sen), which single jumps do not move."""
    points = list(zip(times, values, strict=True))
    if len(points) > 300:
        points = points[:: len(points) // 150]
    pairs = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0]]
    return median(pairs) if pairs else 0.0


def settled(samples: list[Sample], warm_up: float) -> list[Sample]:
    """Those of the run proper: the first seconds fill caches and pools."""
    return [each for each in samples if each.seconds >= warm_up]


def growth(times: list[float], values: list[int]) -> float:
    """From the first to the last: by the slope, or by the medians of the first and last quarter, whichever is more."""
    quarter = max(len(values) // 4, 1)
    by_quarters = median(values[-quarter:]) - median(values[:quarter])
    return max(slope(times, values) * (times[-1] - times[0]), by_quarters)


def faults(samples: list[Sample], allowed_used: int, allowed_rss: int) -> list[str]:
    """What grew that must not, in words; samples after the warm-up.

    Args:
        allowed_used: bytes by which memory in use may grow over the samples.
        allowed_rss: the same of the memory occupied: more, as an allocator leaves holes.
    """
    if len(samples) < 4:
        return [f"expected at least 4 samples after the warm-up, found {len(samples)}"]
    found = []
    times = [s.seconds for s in samples]
    memory = (("in use", [s.used for s in samples], allowed_used), ("occupied", [s.rss for s in samples], allowed_rss))
    for name, values, allowed in memory:
        if (grown := growth(times, values)) > allowed:
            found.append(f"memory {name} grew by {grown / MIB:.1f} MiB; allowed: {allowed / MIB:.1f}")
    for name, values in (("threads", [s.threads for s in samples]), ("open files", [s.files for s in samples])):
        if max(values) != min(values):
            found.append(f"{name}: expected a constant number, found {min(values)} to {max(values)}")
    return found
