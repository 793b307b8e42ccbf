"""``stpl-adapt benchmark``: a published benchmark, from data to table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stpl.cli.errors import Interrupted
from stpl.cli.models import ArchOption
from stpl.cli.runs import overrides_argument

if TYPE_CHECKING:
    from stpl.data.classes import ClassSet
    from stpl.train.checkpoint import Checkpoint

TABLE_FILE = "table.md"

Overrides = Annotated[list[str] | None, overrides_argument("adapt.contrast.weight=0.1")]


def benchmark(
    config: Annotated[Path, typer.Option("--config", metavar="YAML", help="The recipe.", show_default=False)],
    target_root: Annotated[
        Path, typer.Option("--target-root", metavar="DIR", help="Cityscapes-Seq.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the benchmark.", show_default=False)],
    source_root: Annotated[
        Path | None, typer.Option("--source-root", metavar="DIR", help="VIPER or SYNTHIA-Seq, to train on.")
    ] = None,
    overrides: Overrides = None,
    source_model: Annotated[
        str | None, typer.Option("--source-model", metavar="MODEL", help="Instead of training one.")
    ] = None,
    arch: ArchOption = None,
    source_flow: Annotated[
        Path | None, typer.Option("--source-flow", metavar="DIR", help="Stored flow of the source.")
    ] = None,
    target_flow: Annotated[
        Path | None, typer.Option("--target-flow", metavar="DIR", help="Stored flow of the target's train split.")
    ] = None,
    val_flow: Annotated[
        Path | None, typer.Option("--val-flow", metavar="DIR", help="Stored flow of the target's val split.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make parts again that were made with other settings.")
    ] = False,
) -> None:
    """Runs a published benchmark, from data to table.

    Trains the source model (or takes --source-model), adapts it by each method and seed of the recipe, scores every
    snapshot as the released baselines do it, and writes table.md and results.json to --out. What is finished is not
    made again: after Ctrl-C the same command goes on.

    \b
    Example:
      stpl-adapt benchmark --config models/viper_to_cityscapes.yaml --source-root data/Viper \\
          --target-root data/Cityscapes --out runs/viper \\
          pair_source.imagenet=DeepLab_resnet_pretrained_imagenet.pth
    """
    from rich.console import Console
    from rich.table import Table

    from stpl.benchmark.config import BenchmarkConfig
    from stpl.benchmark.data_roots import DataRoots
    from stpl.benchmark.protocol import BENCHMARKS
    from stpl.benchmark.run import RESULTS_FILE, BenchmarkRun
    from stpl.benchmark.table import HEADER, markdown, table_rows
    from stpl.config import load_config

    settings = load_config(BenchmarkConfig, config, overrides or ())
    roots = DataRoots(target_root, source_root, source_flow, target_flow, val_flow)
    given = None if source_model is None else _open_model(source_model, arch, BENCHMARKS[settings.benchmark].classes)
    run = BenchmarkRun(settings, roots, out, source_model=given, overwrite=overwrite)
    try:
        scores = run()
    except KeyboardInterrupt:
        raise Interrupted(f"{out} holds what is finished; the same command goes on") from None
    _write(out / TABLE_FILE, markdown(run.benchmark, scores, run.frames))
    table = Table(title=f"{run.benchmark.title}: mIoU %", title_justify="left")
    for name in HEADER:
        table.add_column(name, justify="right" if name in HEADER[2:5] else "left")
    for row in table_rows(run.benchmark, scores):
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print("* found by the val labels; it chooses nothing")
    console.print(f"[bold]{out}[/bold]: {TABLE_FILE}, {RESULTS_FILE}, and a folder for each run", highlight=False)


def _open_model(model: str, arch: str | None, classes: ClassSet) -> Checkpoint:
    """The model; raw weights are taken to have the benchmark's classes."""
    from stpl.data.class_map import ClassOption
    from stpl.train.open_model import open_model

    checkpoint = open_model(model, arch=arch, classes=None if arch is None else ClassOption(names=classes))
    checkpoint.build()  # what does not fit is said before anything is written
    return checkpoint


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
