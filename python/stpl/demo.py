"""The demo: a day-time model adapted to generated dusk video, exported, and run by the runtime."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

import stpl_rt
from stpl.config import load_config
from stpl.data.dataset import Image, VideoDataset
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.errors import UserError
from stpl.evaluate import Evaluation, Predictor, evaluate_bundle, evaluate_checkpoint
from stpl.export.bundle import ExportResult, export_bundle
from stpl.report.adaptation import Sample, add_calibration, add_samples, add_training, read_events
from stpl.report.html import Report
from stpl.report.pictures import Panel, save_picture, side_by_side
from stpl.train.adapt import adapt
from stpl.train.checkpoint import FILE_NAME, Checkpoint, load_checkpoint
from stpl.train.config import AdaptConfig
from stpl.train.run import run_folder
from stpl.train.stages import spread
from stpl_rt.video import VideoWriter

SOURCE = Path("models") / "street-day"
STEPS = 100
SCHEDULES = ("every", "fixed:5")
OVERLAY_FRAMES = 75
MARKER = ".stpl-demo"


@dataclass(frozen=True)
class Row:
    """One line of the demo's first table: a model and its mIoU, 0 to 1, on the held-out video."""

    name: str
    miou: float


def run_demo(out: Path, seed: int = 0, *, steps: int = STEPS) -> None:
    """Runs the main job on generated video and writes bundle, overlay.mp4, report.html and results.json to ``out``.

    Args:
        out: made where it is missing; what an earlier demo left there is replaced, anything else is refused.
        seed: of the generated video and of the training.
        steps: of both trainings.
    """
    started = time.perf_counter()
    console = Console()
    source = load_checkpoint(_find_source())
    video = open_dataset(f"synthstreet:?domain=dusk&seed={2000 + seed}&sequences=4&frames=30&fps=5&size=240x320")
    held_out = open_dataset(f"synthstreet:?domain=dusk&seed={3000 + seed}&sequences=3&frames=40&fps=15&size=240x320")
    video, held_out = InMemory(video), InMemory(held_out)
    _claim(out)
    console.rule("adapting the day-time model to unlabelled dusk video")
    rows, adapted = _adapt_all(source, video, held_out, out, seed, steps)
    console.rule("exporting, and running the bundle")
    exported = export_bundle(
        adapted,
        out / "bundle",
        [held_out.frame(i) for i in spread(len(held_out), 8)],
        schedule="fixed:5",
        overwrite=True,
    )
    runs = {name: evaluate_bundle(out / "bundle", held_out, schedule=name, progress=True) for name in SCHEDULES}
    _write_overlay(out, source, held_out)
    seconds = time.perf_counter() - started
    _write_results(out, rows, runs, exported, seconds)
    _write_report(out, source, adapted, held_out, rows, runs, exported)
    _print_table(console, rows, runs)
    console.print(f"[bold]{out}[/bold]: bundle, overlay.mp4, report.html ({seconds:.0f} s)", highlight=False)


def _find_source() -> Path:
    beside_the_code = Path(__file__).resolve().parents[2] / SOURCE
    for folder in (SOURCE, beside_the_code):
        if (folder / FILE_NAME).is_file():
            return folder
    raise UserError(f"expected the demo's source model at {SOURCE}; found none: run the demo from a clone of stpl")


def _claim(out: Path) -> None:
    """Marks ``out`` as a demo's folder, so that the next demo may replace it and nothing else is ever replaced."""
    if out.exists() and not (out / MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"--out {out}: expected a new or empty folder, or that of an earlier demo; found something else"
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


def _adapt_all(
    source: Checkpoint, video: VideoDataset, held_out: VideoDataset, out: Path, seed: int, steps: int
) -> tuple[list[Row], Checkpoint]:
    def run(folder: Path, *overrides: str) -> Checkpoint:
        config = load_config(AdaptConfig, None, [f"seed={seed}", f"steps={steps}", *overrides])
        with run_folder(folder, overwrite=True):
            return adapt(config, source, video, folder)

    models = {
        "source model": source,
        "input calibrated": run(out / "calibrated", "method=bn", "batch_norm.enabled=false"),
        "+ batch-norm": run(out / "batch-norm", "method=bn"),
        "self-training": run(out / "self-training", "method=self-training"),
        "STPL": run(out / "stpl", "method=stpl"),
    }
    rows = [Row(name, evaluate_checkpoint(model, held_out, progress=True).miou) for name, model in models.items()]
    return rows, models["STPL"]


def _print_table(console: Console, rows: list[Row], runs: dict[str, Evaluation]) -> None:
    table = Table(title="held-out dusk video, 320x240")
    table.add_column("model")
    table.add_column("mIoU", justify="right")
    table.add_column("frames/s in push()", justify="right")
    for row in rows:
        table.add_row(row.name, f"{100 * row.miou:.1f}", "")
    table.add_section()
    for name, run in runs.items():
        table.add_row(f"STPL in the runtime, {name}", f"{100 * run.miou:.1f}", f"{run.frames_per_second:.0f}")
    console.print(table)


def _write_overlay(out: Path, source: Checkpoint, held_out: VideoDataset) -> None:
    before = Predictor(source)
    segmenter = stpl_rt.Segmenter(out / "bundle", schedule="fixed:5")
    colors = source.classes.colors
    frames = range(min(OVERLAY_FRAMES, len(held_out)))
    with VideoWriter(out / "overlay.mp4", fps=held_out.fps or 15) as writer:
        for index in frames:
            frame = held_out.frame(index)
            labels = segmenter.push(frame).labels
            picture = _panels(frame, before(frame), labels, colors)
            writer.write(picture)
            if index == frames[3 * len(frames) // 5]:
                save_picture(picture, out / "overlay.png")


def _panels(frame: Image, before: Image, after: Image, colors: tuple[tuple[int, int, int], ...]) -> Image:
    return side_by_side(
        [
            Panel("input", frame),
            Panel("source model", stpl_rt.overlay(frame, before, colors, alpha=0.6)),
            Panel("adapted by STPL, fixed:5", stpl_rt.overlay(frame, after, colors, alpha=0.6)),
        ]
    )


def _write_results(
    out: Path, rows: list[Row], runs: dict[str, Evaluation], exported: ExportResult, seconds: float
) -> None:
    results = {
        "miou": {row.name: 100 * row.miou for row in rows},
        "runtime": {name: run.to_dict() for name, run in runs.items()},
        "parity": exported.parity.to_dict(),
        "seconds": seconds,
    }
    unfinished = out / ".results.json.part"
    unfinished.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(out / "results.json")


def _write_report(
    out: Path,
    source: Checkpoint,
    adapted: Checkpoint,
    held_out: VideoDataset,
    rows: list[Row],
    runs: dict[str, Evaluation],
    exported: ExportResult,
) -> None:
    report = Report("A day-time model at dusk", "stpl demo: generated street video, adapted without labels")
    first, last = rows[0].miou, rows[-1].miou
    report.add_fact("mIoU, source model", f"{100 * first:.1f}")
    report.add_fact("mIoU, adapted by STPL", f"{100 * last:.1f}")
    report.add_fact("frames/s, fixed:5", f"{runs['fixed:5'].frames_per_second:.0f}")
    report.section("Result", "mIoU over the classes present, on dusk video that no training has seen.")
    report.add_table(["model", "mIoU"], [[row.name, f"{100 * row.miou:.1f}"] for row in rows], highlight=len(rows) - 1)
    report.section(
        "In the runtime", "The exported bundle on the same video: the network on every frame or every fifth."
    )
    report.add_table(
        ["schedule", "mIoU", "frames/s in push()", "key frame, ms", "propagated, ms"],
        [[name, *_runtime_cells(run)] for name, run in runs.items()],
    )
    report.add_details("parity of the exported network", json.dumps(exported.parity.to_dict(), indent=1))
    before, after = Predictor(source), Predictor(adapted)
    samples = []
    for index in spread(len(held_out), 4):
        frame, frame_id = held_out.frame(index), held_out.frame_id(index)
        samples.append(Sample(f"{frame_id.sequence} {frame_id.name}", frame, before(frame), after(frame)))
    add_samples(report, adapted.classes, samples)
    events = read_events(out / "stpl" / "metrics.jsonl")
    add_calibration(report, events)
    add_training(report, events, adapted.classes)
    report.write(out / "report.html")


def _runtime_cells(run: Evaluation) -> list[str]:
    key = "" if run.key_timing is None else f"{run.key_timing.p50:.1f}"
    propagated = "" if run.propagated_timing is None else f"{run.propagated_timing.p50:.1f}"
    return [f"{100 * run.miou:.1f}", f"{run.frames_per_second:.0f}", key, propagated]
