"""``stpl-adapt segment``: runs a bundle over a video."""

from __future__ import annotations

import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stpl.cli.errors import Interrupted
from stpl.cli.interrupts import WholeRounds
from stpl.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    import stpl_rt
    from stpl.cli.frames import FrameStream
    from stpl.cli.outputs import LabelFolder, OverlayVideo

DEFAULT_FPS = 25.0
REMEMBERED_TIMES = 100_000
"""Times are kept for the latest frames alone, so that a camera can run for months."""


def segment(
    bundle: Annotated[Path, typer.Option("--bundle", metavar="BUNDLE", help="Exported model.", show_default=False)],
    input: Annotated[  # noqa: A002 (the option's name)
        str, typer.Option("--input", metavar="SOURCE", help="Video file, folder, URL or camera:N.", show_default=False)
    ],
    labels_out: Annotated[
        Path | None, typer.Option("--labels-out", metavar="DIR", help="Write an 8-bit PNG of class ids a frame.")
    ] = None,
    overlay_out: Annotated[
        Path | None, typer.Option("--overlay-out", metavar="FILE.mp4", help="Write the labels over the video.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="every|fixed:K|adaptive", help="The bundle's own where absent.")
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="cpu|cuda[:N]", help="Where the network runs.")] = "cpu",
    build_engines: Annotated[
        bool,
        typer.Option("--build-engines", help="On a GPU: build a TensorRT plan where the cache has none that fits."),
    ] = False,
    trust_engines: Annotated[
        bool, typer.Option("--trust-engines", help="On a GPU: use the bundle's TensorRT plans. A plan is code.")
    ] = False,
    precision: Annotated[str, typer.Option("--precision", metavar="f32|bf16|f16", help="Of the network.")] = "f32",
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="0: all cores.", min=0)] = 0,
    fps: Annotated[
        float | None, typer.Option("--fps", metavar="RATE", help="Of the overlay; the input's where it has one.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="Stop after N frames.", min=1)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what lies at the outputs.")] = False,
) -> None:
    """Segments a video, folder, stream or camera with a bundle.

    Writes labels (ids in the manifest's order, at the input's resolution) and an overlay where asked to, and prints
    key frames and times. Ctrl-C ends a camera or stream; what was written up to there is kept.

    \b
    Examples:
      stpl-adapt segment --bundle drive.bundle --input drive.mp4 --schedule fixed:5 --overlay-out overlay.mp4
      stpl-adapt segment --bundle drive.bundle --input camera:0 --labels-out labels --limit 300
    """
    from rich.console import Console

    import stpl_rt
    from stpl.cli.frames import FrameStream
    from stpl.cli.outputs import LabelFolder, OverlayVideo

    if fps is not None and not 0 < fps <= 1000:
        raise UserError(f"--fps: expected frames per second above 0, up to 1000; found {fps:g}")
    segmenter = stpl_rt.Segmenter(
        bundle,
        device=device,
        schedule=schedule,
        precision=precision,
        threads=threads,
        build_engines=build_engines,
        trust_engines=trust_engines,
    )
    stream = FrameStream(input)
    labels = None
    if labels_out is not None:
        labels = LabelFolder(labels_out, input, nested=stream.sequences > 1, overwrite=overwrite)
    statistics = Statistics()
    console = Console()
    try:
        with ExitStack() as stack:
            video = None
            if overlay_out is not None:
                colors = [info.color for info in segmenter.bundle.classes]
                rate = fps or stream.fps or DEFAULT_FPS
                video = stack.enter_context(OverlayVideo(overlay_out, rate, colors, overwrite=overwrite))
            _run(segmenter, stream, limit, labels, video, stack.enter_context(_progress()), statistics)
    except KeyboardInterrupt:
        console.print(statistics.table())
        raise Interrupted(f"stopped after {statistics.frames} frames; what was written up to there is kept") from None
    console.print(statistics.table())


class Statistics:
    """Counts and times of a run, in memory that does not grow with its length."""

    def __init__(self) -> None:
        self.frames = 0
        self.keys: dict[str, int] = {}
        self._key_ms: deque[float] = deque(maxlen=REMEMBERED_TIMES)
        self._propagated_ms: deque[float] = deque(maxlen=REMEMBERED_TIMES)
        self._runtime_ms = 0.0
        self._started = time.perf_counter()

    def add(self, result: stpl_rt.Result) -> None:
        """Counts one frame."""
        self.frames += 1
        milliseconds = result.timing["total_ms"]
        self._runtime_ms += milliseconds
        (self._key_ms if result.is_key else self._propagated_ms).append(milliseconds)
        if result.is_key:
            self.keys[result.key_reason] = self.keys.get(result.key_reason, 0) + 1

    def table(self) -> Table:
        """Frames, key frames and why, times, frames per second."""
        from rich.table import Table

        from stpl.timing import Timing

        seconds = time.perf_counter() - self._started
        table = Table(show_header=False, box=None)
        reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(self.keys.items()))
        table.add_row("frames", str(self.frames))
        table.add_row("key frames", f"{sum(self.keys.values())}" + (f" ({reasons})" if reasons else ""))
        for name, times in (("key frame", self._key_ms), ("propagated frame", self._propagated_ms)):
            timing = Timing.of(list(times))
            if timing is not None:
                table.add_row(name, f"p50 {timing.p50:.2f} ms, p99 {timing.p99:.2f} ms")
        if self.frames:
            alone = 1e3 * self.frames / max(self._runtime_ms, 1e-9)
            table.add_row("speed", f"{self.frames / seconds:.1f} frames/s; segmentation alone {alone:.1f}")
        return table


def _run(
    segmenter: stpl_rt.Segmenter,
    stream: FrameStream,
    limit: int | None,
    labels: LabelFolder | None,
    video: OverlayVideo | None,
    progress: Progress,
    statistics: Statistics,
) -> None:
    total = limit if stream.total is None else min(stream.total, limit or stream.total)
    task = progress.add_task(f"{segmenter.schedule}", total=total)
    with WholeRounds() as rounds:
        for number, frame in enumerate(stream, start=1):
            with rounds.one():
                if frame.starts_sequence:
                    segmenter.reset()
                result = segmenter.push(frame.pixels)
                statistics.add(result)
                if labels is not None:
                    labels.write(frame, result.labels)
                if video is not None:
                    video.write(frame, result.labels)
                progress.advance(task)
            if number == limit:
                break


def _progress() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f} frames/s")

    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn())
