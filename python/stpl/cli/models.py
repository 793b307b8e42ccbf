"""What the commands that take a model have in common: ``--model``, ``--arch``, ``--classes``, ``--size``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stpl.errors import UserError

if TYPE_CHECKING:
    from stpl.data.class_map import ClassOption
    from stpl.data.classes import ClassSet
    from stpl.train.checkpoint import Checkpoint

MODEL_KINDS = "Checkpoint or run; folder of transformers; hf:ORG/NAME; raw weights with --arch."
ModelOption = Annotated[str, typer.Option("--model", metavar="MODEL", help=MODEL_KINDS, show_default=False)]
ArchOption = Annotated[
    str | None,
    typer.Option("--arch", metavar="NAME", help="Network of raw weights, or package.module:factory of your own."),
]
ClassesOption = Annotated[
    str | None,
    typer.Option("--classes", metavar="SPEC", help="cityscapes-19, by-name, MODEL=DATA,…, or a YAML file."),
]
SizeOption = Annotated[
    str | None, typer.Option("--size", metavar="HxW", help="Input size of the network; the model's own where absent.")
]


def class_option(classes: str | None) -> ClassOption | None:
    """What ``--classes`` says, or None where it is not given."""
    from stpl.data.class_map import read_classes

    return None if classes is None else read_classes(classes)


def open_from_options(
    model: str, arch: str | None, classes: ClassOption | None = None, size: str | None = None
) -> Checkpoint:
    """The model that the options name, built once: what does not fit is said before anything is written."""
    from stpl.train.open_model import open_model

    checkpoint = open_model(model, arch=arch, classes=classes, size=None if size is None else parse_size(size))
    checkpoint.build()
    return checkpoint


def arch_option(checkpoint: Checkpoint) -> str:
    """What to say of a checkpoint beside ``--model``: its network, where that is the user's own code."""
    from stpl.models.factory import is_factory

    return f" --arch {checkpoint.arch}" if is_factory(checkpoint.arch) else ""


def with_data_classes(checkpoint: Checkpoint, data: ClassSet | None, option: ClassOption | None) -> Checkpoint:
    """The model with the data's classes, where ``--classes`` maps them; says what became of which."""
    if option is None or not option.maps:
        return checkpoint
    from stpl.data.class_map import match_classes

    class_map = match_classes(checkpoint.classes, data, option)
    show_classes(class_map.report())
    return checkpoint.with_classes(class_map)


def show_classes(lines: list[str]) -> None:
    """Prints what was merged and what found no partner."""
    from rich.console import Console

    for line in lines:
        Console().print(f"classes: {line}", highlight=False, markup=False)


def local_folder(model: str) -> Path | None:
    """The folder that a local model lies in; None for one on the hub."""
    path = Path(model).expanduser()
    return None if not path.exists() else path if path.is_dir() else path.parent


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of ``HxW``. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise UserError(f"--size: expected HEIGHTxWIDTH in pixels, such as 240x320; found '{text}'")
    height, width = int(match[1]), int(match[2])
    if not (16 <= height <= 8192 and 16 <= width <= 8192):
        raise UserError(f"--size: expected 16 to 8192 pixels a side; found {height}x{width} (height x width)")
    return height, width
