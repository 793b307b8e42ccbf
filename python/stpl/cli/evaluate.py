"""``stpl-adapt evaluate``: measures a checkpoint or a bundle on labelled video."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from stpl.cli.models import (
    MODEL_KINDS,
    ArchOption,
    ClassesOption,
    SizeOption,
    class_option,
    open_from_options,
    show_classes,
)
from stpl.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from stpl.data.class_map import ClassOption
    from stpl.data.dataset import VideoDataset
    from stpl.evaluate import Evaluation
    from stpl.timing import Timing
    from stpl.train.checkpoint import Checkpoint


def evaluate(
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help=f"Bundle. {MODEL_KINDS}", show_default=False)],
    data: Annotated[str, typer.Option("--data", metavar="SPEC", help="Labelled video.", show_default=False)],
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="every|fixed:K", help="Of a bundle; its own where absent.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="Of a bundle; 0: all cores.", min=0)] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Only the first N labelled frames.", min=1)
    ] = None,
    arch: ArchOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers there, too.")] = None,
) -> None:
    """Measures a checkpoint or a bundle on labelled video.

    Prints IoU by class, temporal consistency and, for a bundle, its speed. A checkpoint runs in PyTorch on the
    labelled frames; a bundle runs in stpl_rt over each sequence up to its last label, under its schedule, and is also
    measured by distance from the key frame.

    \b
    Example:
      stpl-adapt evaluate --model drive.bundle --data "synthstreet:?domain=dusk&seed=7" --schedule fixed:5
    """
    from rich.console import Console

    from stpl.data.specs import open_dataset

    is_bundle = (Path(model) / "manifest.json").is_file()
    if schedule is not None and not is_bundle:
        raise UserError(f"--schedule is for bundles; {model} holds no manifest.json")
    option = class_option(classes)
    if is_bundle and (arch is not None or size is not None or (option is not None and option.names is not None)):
        raise UserError(f"{model}: a bundle knows its network, its size and its classes; --classes may map these")
    dataset = open_dataset(data, need_labels=True)
    frames = dataset.labelled()[:limit]
    if is_bundle:
        evaluation = _evaluate_bundle(Path(model), dataset, frames, schedule, threads, option)
    else:
        evaluation = _evaluate_checkpoint(open_from_options(model, arch, option, size), dataset, frames, option)
    console = Console()
    console.print(class_table(evaluation, f"{model} on {dataset.name}"))
    console.print(summary_table(evaluation))
    if evaluation.class_map is not None:
        show_classes(evaluation.class_map.report())
    if json is not None:
        _write_json(json, model, data, schedule, evaluation)


def _evaluate_checkpoint(
    checkpoint: Checkpoint, dataset: VideoDataset, frames: list[int], option: ClassOption | None
) -> Evaluation:
    from stpl.evaluate import evaluate_checkpoint

    return evaluate_checkpoint(checkpoint, dataset, frames, temporal=True, progress=True, class_option=option)


def _evaluate_bundle(
    model: Path,
    dataset: VideoDataset,
    frames: list[int],
    schedule: str | None,
    threads: int,
    option: ClassOption | None,
) -> Evaluation:
    from stpl.evaluate import evaluate_bundle

    return evaluate_bundle(
        model, dataset, frames, schedule=schedule, threads=threads, progress=True, class_option=option
    )


def class_table(evaluation: Evaluation, title: str) -> Table:
    """IoU and share of the labelled pixels by class, and the mean."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", show_footer=True)
    table.add_column("class", footer="mean of the classes present")
    table.add_column("IoU %", justify="right", footer=f"{100 * evaluation.miou:.2f}")
    table.add_column("pixels %", justify="right")
    shares = evaluation.confusion.counts.sum(axis=1) / max(int(evaluation.confusion.counts.sum()), 1)
    iou = evaluation.confusion.iou()
    present = evaluation.confusion.present()
    for index, name in enumerate(evaluation.classes.names):
        value = f"{100 * iou[index]:.2f}" if present[index] else "absent"
        table.add_row(escape(name), value, f"{100 * shares[index]:.2f}")
    return table


def summary_table(evaluation: Evaluation) -> Table:
    """Everything but the classes."""
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_row("labelled frames", str(evaluation.labelled_frames))
    table.add_row("temporal consistency", _percent(evaluation.temporal_consistency))
    for window, scores in evaluation.video_consistency.items():
        right, same = _percent(scores["score"]), _percent(scores["common_score"])
        shown = "n/a" if scores["score"] is None else f"{right} steady and right, {same} steady"
        table.add_row(f"video consistency over {window}", shown)
    ages = evaluation.miou_by_age()
    if len(ages) > 1:
        mean, worst = 100 * fmean(ages.values()), 100 * min(ages.values())
        table.add_row("mIoU by distance from key", f"mean {mean:.2f}, worst {worst:.2f}")
        table.add_row("", "  ".join(f"{age}: {100 * score:.2f}" for age, score in ages.items()))
    _add_timing(table, "key frames", evaluation.key_timing)
    _add_timing(table, "propagated frames", evaluation.propagated_timing)
    if evaluation.frames_per_second is not None:
        table.add_row("speed", f"{evaluation.frames_per_second:.1f} frames/s")
    return table


def _add_timing(table: Table, name: str, timing: Timing | None) -> None:
    if timing is not None:
        table.add_row(name, f"{timing.frames}, p50 {timing.p50:.2f} ms, p99 {timing.p99:.2f} ms")


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.2f} %"


def _write_json(path: Path, model: str, data: str, schedule: str | None, evaluation: Evaluation) -> None:
    from json import dumps

    record = {"model": model, "data": data, "schedule": schedule, **evaluation.to_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(dumps(record, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
