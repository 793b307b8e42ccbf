"""The commands of ``stpl-adapt``, listed."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from stpl import __version__
from stpl.cli.adapt import adapt
from stpl.cli.benchmark import benchmark
from stpl.cli.demo import demo
from stpl.cli.doctor import doctor
from stpl.cli.evaluate import evaluate
from stpl.cli.export import export
from stpl.cli.segment import segment
from stpl.cli.source import source

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # main() answers for exceptions
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (source, adapt, evaluate, export, segment, benchmark, doctor, demo):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stpl {__version__}")
        raise typer.Exit


@app.callback()
def stpl_adapt(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, and where errors come from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Adapts a segmentation model to unlabelled video, exports it, and runs it.

    \b
    stpl-adapt adapt   --model models/street-day --target drive.mp4 --out runs/drive
    stpl-adapt export  --model runs/drive --out drive.bundle
    stpl-adapt segment --bundle drive.bundle --input drive.mp4 --overlay-out overlay.mp4

    Exit status: 0 done, 2 a mistake in what was asked for, 1 a fault, 130 interrupted.
    """
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False, rich_tracebacks=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("stpl").setLevel(logging.DEBUG if verbose else logging.INFO)
