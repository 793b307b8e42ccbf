"""``stpl-adapt export``: writes a bundle for the runtime."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stpl.cli.engines import (
    BatchOption,
    CapabilityOption,
    DlaOption,
    EmbedOption,
    EngineOptions,
    LevelOption,
    LibraryOption,
    RebuildOption,
    SourcesOption,
    TacticsOption,
    TensorRTOption,
    Tf32Option,
    WorkspaceOption,
    build_for,
)
from stpl.cli.lowering import LoweringOptions, show_lowered
from stpl.cli.models import (
    ArchOption,
    ClassesOption,
    ModelOption,
    SizeOption,
    class_option,
    open_from_options,
    with_data_classes,
)
from stpl.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from stpl.export.parity import Parity
    from stpl.train.accel import AccelNetworks
    from stpl.train.checkpoint import Checkpoint

NO_ENGINE_OPTIONS = EngineOptions(None, "1", "", None, None, None, None, False, None, False, False)
GENERATED_FRAMES = "synthstreet:?domain=day&seed=0&sequences=2&frames=4&size=240x320"


def export(
    model: ModelOption,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="BUNDLE", help="Folder to write.", show_default=False)
    ] = None,
    size: SizeOption = None,
    arch: ArchOption = None,
    classes: ClassesOption = None,
    precision: Annotated[
        str, typer.Option("--precision", metavar="fp32|fp16|bf16|int8", help="Of the stored networks.")
    ] = "fp32",
    calibration_data: Annotated[
        str | None,
        typer.Option(
            "--calibration-data", metavar="SPEC", help="Own video to lower the precision on; needs no labels."
        ),
    ] = None,
    calibration_frames: Annotated[
        int, typer.Option("--calibration-frames", metavar="N", help="How many frames of it.", min=1)
    ] = 32,
    calibration: Annotated[
        str, typer.Option("--calibration", metavar="percentile|minmax|entropy", help="How int8's ranges are found.")
    ] = "percentile",
    max_loss: Annotated[
        float | None,
        typer.Option("--max-loss", metavar="PERCENT", help="Of the labels that may change; 0.5, 1 or 2 where absent."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SPEC", help="Frames to check on; generated ones where absent.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="How many of them.", min=1)] = 8,
    schedule: Annotated[
        str, typer.Option("--schedule", metavar="every|fixed:K|adaptive", help="The bundle's default schedule.")
    ] = "every",
    name: Annotated[str | None, typer.Option("--name", help="Of the bundle; that of its folder where absent.")] = None,
    accel: Annotated[
        bool, typer.Option("--accel/--no-accel", help="The run's networks of accel mode, too, where it has some.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the bundle at --out.")] = False,
    tensorrt: TensorRTOption = False,
    library: LibraryOption = None,
    batch: BatchOption = "1",
    compute_capability: CapabilityOption = "",
    workspace: WorkspaceOption = None,
    optimization_level: LevelOption = None,
    max_tactics: TacticsOption = None,
    tactic_sources: SourcesOption = None,
    tf32: Tf32Option = False,
    dla_core: DlaOption = None,
    embed_plan: EmbedOption = False,
    rebuild: RebuildOption = False,
) -> None:
    """Exports a checkpoint as a bundle for the runtime.

    Writes a folder with segment.onnx and manifest.json. The exported network is run by ONNX Runtime and by stpl_rt
    and compared with PyTorch: where one of them disagrees on more than 0.01 % of the pixels, nothing is written and
    the exit status is 1.

    --precision lowers the stored networks, measured on --calibration-data: layers that overflow in fp16 are kept in
    fp32, and so are those that lose most where more than --max-loss percent of the labels change. int8 is
    QuantizeLinear and DequantizeLinear in the file, which OpenVINO runs too.

    With --tensorrt, plans for NVIDIA GPUs are built from the bundle's networks, into the user's cache.
    A bundle as --model, without --out, gets its plans and is not written anew.

    \b
    Examples:
      stpl-adapt export --model runs/drive --out drive.bundle --schedule fixed:5
      stpl-adapt export --model runs/drive --out drive.bundle --precision fp16 --calibration-data drive.mp4 --tensorrt
      stpl-adapt export --model runs/drive --out drive.bundle --precision int8 --calibration-data drive.mp4
      stpl-adapt export --model drive.bundle --tensorrt --compute-capability 8.9
    """
    engines = EngineOptions(
        library, batch, compute_capability, workspace, optimization_level, max_tactics, tactic_sources, tf32, dla_core,
        embed_plan, rebuild,
    )  # fmt: skip
    if not tensorrt and engines != NO_ENGINE_OPTIONS:
        raise UserError("options for TensorRT: expected --tensorrt with them; found none")
    if (bundle := _bundle_alone(model, out, tensorrt)) is not None:
        from rich.console import Console

        build_for(bundle, engines, Console())
        return
    if out is None:
        raise UserError("--out: expected the folder to write; found none")
    lower = LoweringOptions(precision, calibration_data, calibration_frames, calibration, max_loss)
    lower.check()
    if tensorrt:
        engines.open()  # what cannot be is said before anything is written
    if not re.fullmatch(r"every|fixed:[1-9]\d{0,5}|adaptive(:\d+(\.\d+)?(:[1-9]\d{0,5})?)?", schedule):
        raise UserError(
            "--schedule: expected every, fixed:K with K of at least 1 or adaptive[:DRIFT[:LONGEST]]; found "
            f"'{schedule}'"
        )
    option = class_option(classes)
    from rich.console import Console

    from stpl.data.specs import open_dataset
    from stpl.export import export_bundle
    from stpl.export.bundle import check_output
    from stpl.train.stages import spread

    check_output(out, overwrite=overwrite)
    checkpoint = open_from_options(model, arch, option, size)
    networks = _accel_networks(model, checkpoint, trained_for_it=size is None and classes is None) if accel else None
    lowering = lower.open()
    data = data or calibration_data  # a network lowered for one video is judged on it
    dataset = open_dataset(data or GENERATED_FRAMES)
    # Generated frames are for the check alone: their classes are nobody's.
    checkpoint = with_data_classes(checkpoint, None if data is None else dataset.classes, option)
    console = Console()
    with console.status("exporting and comparing"):
        result = export_bundle(
            checkpoint,
            out,
            [dataset.frame(index) for index in spread(len(dataset), frames)],
            name=name,
            schedule=schedule,
            provenance={"checkpoint_sha256": _hash(model, checkpoint), "parity_data": data or GENERATED_FRAMES},
            accel=networks,
            lowering=lowering,
            overwrite=overwrite,
        )
    show_lowered(result.lowered, console)
    console.print(parity_table(result.parity))
    files = ", ".join(sorted(file.name for file in result.bundle.iterdir()))
    console.print(f"[bold]{result.bundle}[/bold]: {files}", highlight=False)
    if tensorrt:
        build_for(result.bundle, engines, console)
    console.print(f"next: stpl-adapt segment --bundle {out} --input VIDEO", highlight=False, markup=False)


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


def _bundle_alone(model: str, out: Path | None, tensorrt: bool) -> Path | None:
    """The bundle that ``--model`` names, to be given plans; None where a model is to be exported."""
    from stpl.export.bundle import MANIFEST

    path = Path(model).expanduser()
    if not (path / MANIFEST).is_file():
        return None
    if not tensorrt or out is not None:
        raise UserError(
            f"{path}: is a bundle already: expected a checkpoint to export, or --tensorrt without --out to build its "
            "plans"
        )
    return path


def _accel_networks(model: str, checkpoint: Checkpoint, *, trained_for_it: bool) -> AccelNetworks | None:
    """Those that lie in the run's folder; none for another size or other classes than they were trained for."""
    from stpl.train.accel import load_accel
    from stpl.train.run import ACCEL_FILE, RESUME_FILE

    file = Path(model) / ACCEL_FILE
    if not file.is_file():
        if (Path(model) / RESUME_FILE).is_file():
            raise UserError(
                f"{model}: expected a finished run; found one that ended while it trained the networks of accel mode: "
                "finish it with stpl-adapt adapt --resume, or export its checkpoint with --no-accel"
            )
        return None
    if not trained_for_it:
        raise UserError(
            f"{file}: the networks of accel mode were trained for the run's own input size and classes: export "
            "without --size and --classes, or with --no-accel"
        )
    return load_accel(file, checkpoint)


def _hash(model: str, checkpoint: Checkpoint) -> str:
    """SHA-256 of the model's file; of its weights, the first digits, where it is not one file."""
    import hashlib

    from stpl.train.checkpoint import FILE_NAME

    path = Path(model)
    file = path / FILE_NAME if path.is_dir() else path
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else checkpoint.digest
