"""``stpl-adapt demo``: the main job on generated video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the video and of training.", min=0)] = 0,
) -> None:
    """Shows the main job on generated video.

    Adapts the shipped day-time model to generated dusk video, exports it, and runs it. Prints one table, and writes
    the bundle, overlay.mp4 (input, source and adapted model side by side) and report.html to --out, replacing those of
    an earlier demo.

    \b
    Example:
      stpl-adapt demo --out runs/demo
    """
    from stpl.demo import run_demo

    run_demo(out, seed)
