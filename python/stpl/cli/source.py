"""``stpl-adapt source``: trains a source model on labelled video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stpl.cli.models import arch_option
from stpl.cli.runs import (
    ConfigOption,
    OutOption,
    OverwriteOption,
    ResumeOption,
    SeedOption,
    StepsOption,
    as_overrides,
    overrides_argument,
    resumable,
)

MODEL_HELP = "Architecture, such as compact, or package.module:factory of your own; then --init needs it, too."
Overrides = Annotated[list[str] | None, overrides_argument("learning_rate=1e-3")]


def source(
    data: Annotated[str, typer.Option("--data", metavar="SPEC", help="Labelled video.", show_default=False)],
    out: OutOption,
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help=MODEL_HELP)] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="MODEL", help="Fine-tune this checkpoint, or this run's."),
    ] = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    steps: StepsOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Trains a segmentation model on labelled video.

    Writes checkpoint.safetensors, config.yaml and metrics.jsonl to --out. Ctrl-C saves the state; the same command
    with --resume goes on.

    \b
    Example:
      stpl-adapt source --data "synthstreet:?domain=day&seed=1000" --model compact --out runs/street-day steps=500
    """
    from rich.console import Console

    from stpl.config import load_config
    from stpl.data.specs import open_dataset
    from stpl.models.factory import is_factory
    from stpl.models.registry import build_model
    from stpl.train.checkpoint import load_checkpoint
    from stpl.train.run import run_folder
    from stpl.train.source import SourceConfig, train_source

    settings = load_config(
        SourceConfig, config, as_overrides({"model": model, "seed": seed, "steps": steps}, overrides)
    )
    own = settings.model if is_factory(settings.model) else None  # other names a checkpoint may say itself
    initial = None if init is None else load_checkpoint(init, own)
    build_model(settings.model, 1)  # an unknown name is said before anything is read
    dataset = open_dataset(data, need_labels=True)
    with run_folder(out, overwrite=overwrite, resume=resume), resumable(out):
        trained = train_source(settings, dataset, out, resume=resume, initial=initial)
    console = Console()
    console.print(f"[bold]{out}[/bold]: checkpoint, settings and metrics", highlight=False)
    model_options = f"--model {out}{arch_option(trained)}"
    console.print(f"next: stpl-adapt adapt {model_options} --target VIDEO --out DIR", highlight=False, markup=False)
