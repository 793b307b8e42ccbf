"""Check that the kernels are vector code in a build for 64-bit ARM, by disassembling them.

There the compiler makes no copies for several instruction sets as on x86-64, and says nothing of a loop that it left
scalar. Kernels are the sources that STPL_RT_MULTIVERSION marks.

Run: python scripts/check_neon.py BUILD_FOLDER   after scripts/aarch64.sh has built it
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OBJDUMP = ("aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn")
# Arithmetic on whole vectors, such as `fmla v0.4s, v1.4s, v2.4s`; loads, copies and shuffles do not count.
ARITHMETIC = re.compile(
    r"\t(?:f(?:ml[as]|mul|add|sub|div|max|min|maxnm|minnm|abs|abd|neg|sqrt|cm\w\w|ac\w\w|cvt\w+|rint\w)"
    r"|[su]?(?:add|sub|mul|mla|mls|mull|mlal|max|min|cvtf|shr|shl|addw|addl|addlp|xtl|qxtn|shll)2?p?v?"
    r"|cm\w\w|and|orr|bs[l]|bi[ft])\tv\d+\.\d+[bhsd],"
)


def kernels() -> list[str]:
    """The sources that have kernels."""
    sources = sorted(ROOT.glob("cpp/*/*.cpp"))
    marked = [path for path in sources if "STPL_RT_MULTIVERSION" in path.read_text(encoding="utf-8")]
    return [path.relative_to(ROOT).as_posix() for path in marked]


def vector_arithmetic(build: Path, source: str) -> int:
    """How many instructions of a source's object file compute on whole vectors."""
    program = build / "CMakeFiles/stpl_rt_objects.dir" / f"{source}.o"
    listing = subprocess.run([*OBJDUMP, program], capture_output=True, text=True, check=True).stdout
    return len(ARITHMETIC.findall(listing))


def main() -> None:
    """Print the count of each kernel's source; exit status 1 where one has none."""
    counts = {source: vector_arithmetic(Path(sys.argv[1]), source) for source in kernels()}
    print("NEON arithmetic:", ", ".join(f"{Path(source).stem} {count}" for source, count in counts.items()))
    scalar = [source for source, count in counts.items() if count == 0]
    if scalar or not counts:
        sys.exit(f"no NEON arithmetic in {', '.join(scalar) or 'any source'}")


if __name__ == "__main__":
    main()
