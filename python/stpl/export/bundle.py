"""Writes bundles: ``segment.onnx`` and ``manifest.json``, checked before they get their name."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import stpl_rt
from stpl import __version__
from stpl.data.classes import IGNORE_ID
from stpl.data.dataset import Image
from stpl.errors import UserError
from stpl.export.lowering import Lowering, lower_networks
from stpl.export.mixed_precision import Lowered
from stpl.export.onnx import INPUT_NAME, ExportedNetwork, Shape, export_network, export_onnx
from stpl.export.parity import MIN_AGREEMENT, Parity, measure_parity
from stpl.models.protocol import aligns_corners
from stpl.train.accel import AccelNetworks
from stpl.train.checkpoint import Checkpoint

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
NETWORK = "segment.onnx"


@dataclass(frozen=True)
class ExportResult:
    """A written bundle and how well its network agrees with the checkpoint."""

    bundle: Path
    parity: Parity
    lowered: dict[str, Lowered] = field(default_factory=dict)
    """By network, where another precision than fp32 was asked for."""


def export_bundle(
    checkpoint: Checkpoint,
    out: Path,
    frames: Sequence[Image],
    *,
    size: tuple[int, int] | None = None,
    name: str | None = None,
    schedule: str = "every",
    provenance: dict[str, Any] | None = None,
    accel: AccelNetworks | None = None,
    lowering: Lowering | None = None,
    overwrite: bool = False,
) -> ExportResult:
    """Exports ``checkpoint`` to the folder ``out``, whole or not at all.

    Everything is written to a temporary folder beside ``out``, opened by the runtime, and compared with PyTorch on
    ``frames``; only then does it get its name.

    Args:
        frames: what parity is measured on, uint8 (H, W, 3) RGB.
        size: (height, width) of the network's input; the checkpoint's own where None.
        name: of the bundle; the folder's where None.
        schedule: what a Segmenter uses where nobody says otherwise.
        provenance: beside what the checkpoint itself knows.
        accel: the checkpoint's networks of accel mode, for an input of the checkpoint's own size.
        lowering: the precision of the stored networks, where it is not fp32. Twice the labels that it allows to change
            on its own frames may change on ``frames``.
        overwrite: replace a bundle that lies at ``out``.

    Raises:
        UserError: ``out`` is taken, or the size is not one that the network takes.
        ParityError: the exported network does not agree with the checkpoint; nothing was written.
    """
    check_output(out, overwrite=overwrite)
    if size is not None:
        height, width = size
        checkpoint = _resized(checkpoint, height, width)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.resolve().name}.{os.getpid()}.tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        model = checkpoint.build()
        aligned = aligns_corners(model)
        networks = {"segment": export_onnx(model, checkpoint.input.height, checkpoint.input.width, folder / NETWORK)}
        if accel is not None:
            networks.update(_export_accel(accel, networks["segment"], folder))
        lowered: dict[str, Lowered] = {}
        if lowering is not None:
            networks, lowered = lower_networks(networks, lowering, checkpoint.input.spec(), align_corners=aligned)
            provenance = {**(provenance or {}), "precision": lowering.provenance(lowered)}
        manifest = make_manifest(
            checkpoint, networks, name or _plain_name(out), schedule, provenance or {}, align_corners=aligned
        )
        (folder / MANIFEST).write_text(as_text(manifest), encoding="utf-8")
        parity = measure_parity(model, folder, frames)
        if lowering is None:
            parity.require()
        else:
            parity.require(min(MIN_AGREEMENT, 1 - 2 * lowering.allowed))
        _put(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ExportResult(out, parity, lowered)


def check_output(out: Path, *, overwrite: bool) -> None:
    """Refuses a place that is taken: a bundle unless ``overwrite``, anything else always."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        if not (out / MANIFEST).is_file():
            raise UserError(f"{out}: expected a free name or a bundle; found something else there")
        if not overwrite:
            raise UserError(f"{out}: already holds a bundle; replace it with --overwrite or choose another --out")


def make_manifest(
    checkpoint: Checkpoint,
    networks: dict[str, ExportedNetwork],
    name: str,
    schedule: str,
    provenance: dict[str, Any],
    *,
    align_corners: bool = False,
) -> dict[str, Any]:
    """The manifest of a bundle, as docs/bundle.md describes it; ``align_corners`` says how the logits lie."""
    spec = checkpoint.input
    _, classes, height, width = networks["segment"].logits_shape
    if classes != len(checkpoint.classes):
        raise ValueError(f"expected logits of {len(checkpoint.classes)} classes, found {classes}")
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "classes": [
            {"name": class_name, "color": list(color)}
            for class_name, color in zip(checkpoint.classes.names, checkpoint.classes.colors, strict=True)
        ],
        "ignore_id": IGNORE_ID,
        "input": {
            "width": spec.width,
            "height": spec.height,
            "color_order": spec.color_order,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "lut": None if spec.lut is None else [list(table) for table in spec.lut],
            "resize": spec.resize,
            "filter": spec.filter,
        },
        "logits": {"width": width, "height": height, "align_corners": align_corners},
        "networks": {network_name: _entry(network) for network_name, network in networks.items()},
        "default_schedule": schedule,
        "provenance": {
            **checkpoint.provenance,
            "arch": checkpoint.arch,
            **provenance,
            "exported": _now().isoformat(timespec="seconds"),
            "versions": {
                "stpl": __version__,
                "stpl_rt": stpl_rt.__version__,
                "python": platform.python_version(),
                **{package: version(package) for package in ("torch", "onnx", "onnxscript")},
            },
        },
    }


def _entry(network: ExportedNetwork) -> dict[str, Any]:
    """What the manifest says of a network."""

    def tensor(name: str, shape: Shape) -> dict[str, Any]:
        return {"name": name, "shape": list(shape), "type": "float32"}

    return {
        "file": network.file.name,
        "sha256": network.sha256,
        "inputs": [tensor(name, shape) for name, shape in network.inputs.items()],
        "outputs": [tensor(*network.output)],
    }


def _export_accel(accel: AccelNetworks, segment: ExportedNetwork, folder: Path) -> dict[str, ExportedNetwork]:
    """Writes the networks of accel mode."""
    logits, image = segment.logits_shape, segment.inputs[INPUT_NAME]
    networks = {}
    for name, model, inputs, output in (
        ("fuse", accel.fuse, {"logits": logits, "past": logits}, "fused"),
        ("update", accel.update, {INPUT_NAME: image, "carried": logits}, "updated"),
    ):
        if model is not None:
            networks[name] = export_network(model, inputs, output, folder / f"{name}.onnx")
    return networks


def as_text(manifest: dict[str, Any]) -> str:
    """JSON for people: indented, but lists of numbers on one line (a look-up table has 768)."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    # Strings hold no raw line breaks, so that what spans lines is structure.
    return re.sub(r"\[\n[-+\d.eE,\s]*\]", lambda match: re.sub(r"\s+", " ", match[0]), text) + "\n"


def _resized(checkpoint: Checkpoint, height: int, width: int) -> Checkpoint:
    if not (16 <= height <= 8192 and 16 <= width <= 8192):
        raise UserError(f"size: expected 16 to 8192 pixels a side; found {height}x{width} (height x width)")
    spec = checkpoint.input.model_copy(update={"height": height, "width": width})
    return replace(checkpoint, input=spec)


def _plain_name(out: Path) -> str:
    name = out.resolve().name
    return name.removesuffix(".bundle") or name


def _now() -> datetime.datetime:
    """The time of the export; SOURCE_DATE_EPOCH (seconds) where set, so that builds can be repeated."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        return datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
    return datetime.datetime.now(datetime.timezone.utc)


def _put(folder: Path, out: Path) -> None:
    """Gives the finished folder its name; a bundle that lay there goes only when the new one is in place."""
    old = folder.with_name(f"{folder.name}.old")
    if out.is_dir() and any(out.iterdir()):
        out.rename(old)
    elif out.is_dir():
        out.rmdir()
    try:
        folder.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
