"""``stpl-adapt export``: writes a bundle for the runtime."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stpl.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from stpl.data.dataset import Image
    from stpl.export.parity import Parity

GENERATED_FRAMES = "synthstreet:?domain=day&seed=0&sequences=2&frames=4&size=240x320"


def export(
    model: Annotated[
        Path, typer.Option("--model", metavar="CHECKPOINT", help="File, or folder of a run.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Folder to write.", show_default=False)],
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Input size of the network; the checkpoint's own.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", metavar="fp32", help="Of the stored weights.")] = "fp32",
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Not in this version.", hidden=True)] = False,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SPEC", help="Frames to check on; generated ones where absent.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="How many of them.", min=1)] = 8,
    schedule: Annotated[
        str, typer.Option("--schedule", metavar="every|fixed:K", help="The bundle's default schedule.")
    ] = "every",
    name: Annotated[str | None, typer.Option("--name", help="Of the bundle; that of its folder where absent.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the bundle at --out.")] = False,
) -> None:
    """Exports a checkpoint as a bundle for the runtime.

    Writes a folder with segment.onnx and manifest.json. The exported network is run by ONNX Runtime and by stpl_rt
    and compared with PyTorch: where one of them disagrees on more than 0.01 % of the pixels, nothing is written and
    the exit status is 1.

    \b
    Example:
      stpl-adapt export --model runs/drive --out drive.bundle --schedule fixed:5
    """
    _refuse_unsupported(precision, tensorrt)
    if not re.fullmatch(r"every|fixed:[1-9]\d{0,5}", schedule):
        raise UserError(f"--schedule: expected every or fixed:K with K of at least 1; found '{schedule}'")
    network_size = None if size is None else parse_size(size)
    from rich.console import Console

    from stpl.export import export_bundle
    from stpl.export.bundle import check_output
    from stpl.train.checkpoint import load_checkpoint

    check_output(out, overwrite=overwrite)
    checkpoint = load_checkpoint(model)
    console = Console()
    with console.status("exporting and comparing"):
        result = export_bundle(
            checkpoint,
            out,
            _frames(data, frames),
            size=network_size,
            name=name,
            schedule=schedule,
            provenance={"checkpoint_sha256": _hash(model), "parity_data": data or GENERATED_FRAMES},
            overwrite=overwrite,
        )
    console.print(parity_table(result.parity))
    console.print(f"[bold]{result.bundle}[/bold]: segment.onnx, manifest.json", highlight=False)
    console.print(f"next: stpl-adapt segment --bundle {out} --input VIDEO", highlight=False, markup=False)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of ``HxW``. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise UserError(f"--size: expected HEIGHTxWIDTH in pixels, such as 240x320; found '{text}'")
    return int(match[1]), int(match[2])


def parity_table(parity: Parity) -> Table:
    """Largest logit difference and label agreement of each engine."""
    from rich.table import Table

    table = Table(title=f"against PyTorch, {parity.frames} frames", title_justify="left")
    table.add_column("engine")
    table.add_column("largest logit difference", justify="right")
    table.add_column("same label, % of pixels", justify="right")
    for engine in parity.engines:
        table.add_row(engine.engine, f"{engine.largest_difference:.2e}", f"{100 * engine.agreement:.4f}")
    return table


def _refuse_unsupported(precision: str, tensorrt: bool) -> None:
    if tensorrt:
        raise UserError("--tensorrt: not in this version: the runtime runs segment.onnx by OpenVINO on the CPU")
    if precision in ("fp16", "int8"):
        raise UserError(
            f"--precision {precision}: not in this version: fp32 is stored; the runtime's own --precision chooses bf16 "
            "or f16 arithmetic"
        )
    if precision != "fp32":
        raise UserError(f"--precision: expected fp32; found '{precision}'")


def _frames(data: str | None, count: int) -> list[Image]:
    from stpl.data.specs import open_dataset
    from stpl.train.stages import spread

    dataset = open_dataset(data or GENERATED_FRAMES)
    return [dataset.frame(index) for index in spread(len(dataset), count)]


def _hash(model: Path) -> str:
    import hashlib

    from stpl.train.checkpoint import FILE_NAME

    file = model / FILE_NAME if model.is_dir() else model
    return hashlib.sha256(file.read_bytes()).hexdigest()
