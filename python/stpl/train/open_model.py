"""A model from wherever it is: our checkpoints, folders of ``transformers``, the hub, raw weight files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stpl.data.class_map import CLASS_SETS, ClassOption
from stpl.data.classes import ClassSet
from stpl.errors import UserError
from stpl.models.factory import is_factory
from stpl.models.pth import read_state_dict
from stpl.models.registry import architecture, build_model
from stpl.train.checkpoint import FILE_NAME, Checkpoint, InputConfig, load_checkpoint, load_tensors
from stpl.train.published import CONFIG_FILE, HUB, download, read_folder

RAW_SUFFIXES = (".pth", ".pt", ".bin")


def open_model(
    address: str | Path,
    *,
    arch: str | None = None,
    classes: ClassOption | None = None,
    size: tuple[int, int] | None = None,
) -> Checkpoint:
    """Opens the model that ``address`` names.

    Args:
        address: a run's folder or its ``checkpoint.safetensors``; a folder of ``transformers`` (``config.json`` and
            weights); ``hf:ORG/NAME[@REVISION]`` on the hub; or, with ``arch``, a raw ``.pth``, ``.pt``, ``.bin`` or
            ``.safetensors`` file of weights alone.
        arch: the architecture, for raw weights; and the consent to import the user's own code.
        classes: names the classes of weights that do not know them. What it says about the data's classes is not
            used here.
        size: (height, width) of the network's input; the model's own where None.

    Raises:
        UserError: nothing there, nothing that can be read, or weights of another architecture.
    """
    checkpoint = _open(str(address), arch, None if classes is None else classes.names)
    if classes is not None and classes.names is not None and classes.names.names != checkpoint.classes.names:
        if len(classes.names) != len(checkpoint.classes):
            raise UserError(
                f"{classes.origin}: expected names for the {len(checkpoint.classes)} classes of {address}; found "
                f"{len(classes.names)}"
            )
        checkpoint = replace(checkpoint, classes=classes.names)
    if size is not None:
        checkpoint = replace(
            checkpoint, input=checkpoint.input.model_copy(update={"height": size[0], "width": size[1]})
        )
    return checkpoint


def _open(address: str, arch: str | None, classes: ClassSet | None) -> Checkpoint:
    if address.startswith(HUB):
        _refuse_arch(address, arch)
        return _published(download(address), address)
    path = Path(address).expanduser()
    if path.is_dir() and not (path / FILE_NAME).is_file() and (path / CONFIG_FILE).is_file():
        _refuse_arch(address, arch)
        return _published(path, address)
    if path.is_file() and path.suffix in RAW_SUFFIXES:
        return _raw(path, read_state_dict(path), arch, classes)
    if path.is_file() and arch is not None:
        weights, metadata = load_tensors(path)
        if "stpl" not in metadata:
            return _raw(path, weights, arch, classes)
    return load_checkpoint(path, arch)


def _published(folder: Path, address: str) -> Checkpoint:
    found = read_folder(folder)
    defaults = architecture(found.arch).input
    model_input = InputConfig.model_validate({**asdict(defaults), **found.input})
    weights = _fitting(found.arch, len(found.classes), found.weights, found.options)
    provenance: dict[str, Any] = {"weights": address}
    return Checkpoint(found.arch, found.classes, model_input, weights, provenance, address, found.options)


def _raw(path: Path, weights: Mapping[str, Tensor], arch: str | None, classes: ClassSet | None) -> Checkpoint:
    if arch is None:
        raise UserError(f"{path}: weights alone do not say of which network: say --arch, such as --arch pidnet-s")
    if classes is None:
        known = ", ".join(CLASS_SETS)
        raise UserError(f"{path}: weights alone do not name their classes: say --classes ({known}, or a YAML file)")
    model_input = InputConfig.model_validate(asdict(architecture(arch).input))
    fitting = _fitting(arch, len(classes), weights, {})
    return Checkpoint(arch, classes, model_input, fitting, {"weights": path.name}, str(path))


def _fitting(
    arch: str, num_classes: int, weights: Mapping[str, Tensor], options: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The tensors under the network's own names, in single precision; whether they fit is seen when it is built."""
    # Names and shapes alone; the user's code need not know of the meta device.
    with torch.device("cpu" if is_factory(arch) else "meta"):
        expected = build_model(arch, num_classes, options).state_dict()
    # Counters of batch normalisation, which old files lack, are not on the meta device.
    expected = {name: torch.zeros(t.shape, dtype=t.dtype) if t.ndim == 0 else t for name, t in expected.items()}
    named = architecture(arch).names(weights, expected)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in named.items()}


def _refuse_arch(address: str, arch: str | None) -> None:
    if arch is not None:
        raise UserError(f"--arch {arch}: expected without it; {address} says itself which network it is")
