"""``stpl-adapt adapt``: adapts a source model to unlabelled video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stpl.cli.models import (
    ArchOption,
    ClassesOption,
    ModelOption,
    SizeOption,
    arch_option,
    class_option,
    local_folder,
    open_from_options,
    with_data_classes,
)
from stpl.cli.runs import (
    ConfigOption,
    OutOption,
    OverwriteOption,
    PrintConfigOption,
    ResumeOption,
    SeedOption,
    StepsOption,
    as_overrides,
    overrides_argument,
    resumable,
)
from stpl.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from stpl.data.dataset import VideoDataset
    from stpl.report.adaptation import Sample
    from stpl.train.checkpoint import Checkpoint

REPORT_FRAMES = 4

Overrides = Annotated[list[str] | None, overrides_argument("contrast.weight=0.1")]


def adapt(
    model: ModelOption,
    target: Annotated[str, typer.Option("--target", metavar="SPEC", help="Unlabelled video.", show_default=False)],
    out: OutOption,
    overrides: Overrides = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="stpl; its ablations duplicate, temporal, spatial, spatial+temporal; self-training, tent, shot, hcl, "
            "tps; bn and source train nothing.",
        ),
    ] = None,
    seed: SeedOption = None,
    steps: StepsOption = None,
    config: ConfigOption = None,
    arch: ArchOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    print_config: PrintConfigOption = False,
) -> None:
    """Adapts a source model to unlabelled video.

    Labels, where the video has some, are not read.
    Writes checkpoint.safetensors, config.yaml, metrics.jsonl and report.html to --out. Ctrl-C saves the state; the
    same command with --resume goes on, also after a crash.

    \b
    Example:
      stpl-adapt adapt --model models/street-day --target drive.mp4 --out runs/drive --steps 300
    All settings, with their values:
      stpl-adapt adapt --print-config --method tps steps=300
    On several GPUs:
      accelerate launch -m stpl.cli adapt --model models/street-day --target drive.mp4 --out runs/drive batch_size=16
    """
    from stpl.config import dump_yaml, load_config
    from stpl.data.specs import open_dataset
    from stpl.train.adapt import adapt as run_adaptation
    from stpl.train.checkpoint import load_checkpoint
    from stpl.train.config import AdaptConfig
    from stpl.train.processes import processes
    from stpl.train.run import run_folder

    settings = load_config(
        AdaptConfig, config, as_overrides({"method": method, "seed": seed, "steps": steps}, overrides)
    )
    if print_config:
        typer.echo(dump_yaml(settings), nl=False)
        return
    option = class_option(classes)
    checkpoint = open_from_options(model, arch, option, size)
    _refuse_own_folder(model, out)
    dataset = open_dataset(target)
    checkpoint = with_data_classes(checkpoint, dataset.classes, option)
    if resume and _lacks_report(out):  # killed between its last step and its report
        _write_report(out, checkpoint, load_checkpoint(out, checkpoint.arch), dataset)
        _say_what_is_there(out, settings.steps, checkpoint)
        return
    with processes(settings.device) as group, run_folder(out, overwrite=overwrite, resume=resume), resumable(out):
        adapted = run_adaptation(settings, checkpoint, dataset, out, resume=resume)
        if group.index == 0:
            _write_report(out, checkpoint, adapted, dataset)
    if group.index > 0:  # one process writes and speaks for all
        return
    _say_what_is_there(out, settings.steps, adapted)


def _lacks_report(out: Path) -> bool:
    from stpl.train.checkpoint import FILE_NAME
    from stpl.train.run import METRICS_FILE, RESUME_FILE

    complete = all((out / name).is_file() for name in (FILE_NAME, METRICS_FILE))
    return complete and not any((out / name).exists() for name in (RESUME_FILE, "report.html"))


def _say_what_is_there(out: Path, planned: int, adapted: Checkpoint) -> None:
    from rich.console import Console

    console = Console()
    _say_what_the_guard_kept(console, out, planned)
    console.print(f"[bold]{out}[/bold]: checkpoint, settings, metrics and report.html", highlight=False)
    model_options = f"--model {out}{arch_option(adapted)}"
    console.print(f"next: stpl-adapt export {model_options} --out BUNDLE", highlight=False, markup=False)


def _say_what_the_guard_kept(console: Console, out: Path, planned: int) -> None:
    from stpl.report.adaptation import read_events
    from stpl.report.guard import kept_in_short

    kept = kept_in_short(read_events(out / "metrics.jsonl"), planned)
    if kept is not None:
        console.print(f"guard: {kept}", highlight=False, markup=False)


def _refuse_own_folder(model: str, out: Path) -> None:
    folder = local_folder(model)
    if folder is not None and folder.resolve() == out.resolve():
        raise UserError(f"{out}: expected another folder than that of the source model, which would be lost")


def _write_report(out: Path, source: Checkpoint, adapted: Checkpoint, target: VideoDataset) -> None:
    from stpl.report.adaptation import write_adaptation_report

    provenance = adapted.provenance
    subtitle = f"{provenance.get('method', 'adapted')} on {target.name}, seed {provenance.get('seed', 0)}"
    write_adaptation_report(out, adapted.classes, _samples(source, adapted, target), subtitle=subtitle)


def _samples(source: Checkpoint, adapted: Checkpoint, target: VideoDataset) -> list[Sample]:
    """A few frames of the target, spread over the video, with the labels of both models."""
    from stpl.evaluate import Predictor
    from stpl.report.adaptation import Sample
    from stpl.train.stages import spread

    before, after = Predictor(source), Predictor(adapted)
    samples = []
    for index in spread(len(target), REPORT_FRAMES):
        frame, frame_id = target.frame(index), target.frame_id(index)
        samples.append(Sample(f"{frame_id.sequence} {frame_id.name}", frame, before(frame), after(frame)))
    return samples
