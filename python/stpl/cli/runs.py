"""What the commands that train have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from stpl.cli.errors import Interrupted

OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the run.", show_default=False)]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="YAML", help="Settings; options and key=value override it.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Of everything random.", min=0)]
StepsOption = Annotated[int | None, typer.Option("--steps", metavar="N", help="Training steps.", min=1)]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")]


def overrides_argument(example: str) -> Any:
    """The settings of a command as ``key=value``; ``example`` is one of its own."""
    return typer.Argument(metavar="key=value", help=f"Settings, such as {example}.", show_default=False)


def _nothing_required(context: typer.Context, wanted: bool) -> bool:
    """Where only the settings are to be shown, no model, data or folder has to be named."""
    if wanted:
        required = [parameter for parameter in context.command.params if parameter.required]
        for parameter in required:
            parameter.required = False

        def restore() -> None:
            for parameter in required:
                parameter.required = True

        context.call_on_close(restore)
    return wanted


PrintConfigOption = Annotated[
    bool,
    typer.Option(
        "--print-config",
        is_eager=True,
        callback=_nothing_required,
        help="Print all settings as YAML, as --config and key=value leave them, and exit.",
    ),
]


def as_overrides(options: dict[str, Any], overrides: Sequence[str] | None) -> list[str]:
    """Options that were given as ``key=value``, before those that the user wrote so."""
    return [f"{key}={value}" for key, value in options.items() if value is not None] + list(overrides or ())


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Turns an interruption into a word on how to go on."""
    from stpl.train.run import RESUME_FILE

    try:
        yield
    except KeyboardInterrupt:
        if (out / RESUME_FILE).is_file():
            raise Interrupted(f"{out} holds all steps so far; go on by the same command with --resume") from None
        raise Interrupted(f"{out}: nothing was trained yet; start again with --overwrite") from None
