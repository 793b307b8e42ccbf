"""Checkpoints: weights as safetensors, with everything needed to use them in the file's header.

Nothing is unpickled. A checkpoint knows its architecture, its classes, how its input is prepared (the
calibration's look-up table included) and where it comes from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import stpl_rt
from stpl.config import Config
from stpl.data.classes import ClassSet
from stpl.errors import UserError
from stpl.models.registry import build_model

FORMAT = "stpl-checkpoint-1"
FILE_NAME = "checkpoint.safetensors"


class InputConfig(Config):
    """How a frame becomes the network's input: ``(resize(lut[pixel]) - mean) / std``, in units of 0..255."""

    height: int = 240
    width: int = 320
    mean: tuple[float, float, float] = (123.7, 116.3, 103.5)
    std: tuple[float, float, float] = (58.4, 57.1, 57.4)
    lut: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None = None
    resize: str = "stretch"
    filter: str = "area"

    def spec(self) -> stpl_rt.InputSpec:
        """The runtime's form, so that training and runtime prepare frames with the same code."""
        return stpl_rt.InputSpec(
            self.width,
            self.height,
            mean=list(self.mean),
            std=list(self.std),
            lut=None if self.lut is None else np.array(self.lut, np.uint8),
            resize=self.resize,
            filter=self.filter,
        )


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they mean.

    Attributes:
        arch: a name of :data:`stpl.models.MODELS`.
        classes: names and colours, in the order of the logits.
        input: how frames are prepared for it.
        weights: the network's state dict, on the CPU.
        provenance: how it came about (method, data, seed, steps, version).
    """

    arch: str
    classes: ClassSet
    input: InputConfig
    weights: Mapping[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)
    origin: str = field(default="", compare=False)
    """The file it was read from, for messages."""

    @property
    def digest(self) -> str:
        """SHA-256 of weights and input, the first twelve digits: tells one checkpoint from another."""
        sha = hashlib.sha256(self.input.model_dump_json().encode())
        for name in sorted(self.weights):
            sha.update(name.encode())
            sha.update(self.weights[name].detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()[:12]

    def build(self) -> nn.Module:
        """The network with these weights, in evaluation mode."""
        model = build_model(self.arch, len(self.classes.names))
        _load_weights(model, self.weights, f"{self.origin}: " if self.origin else "", self.arch)
        return model.eval()

    def with_weights(self, model: nn.Module, **provenance: Any) -> Checkpoint:
        """The same checkpoint with another network's weights and further provenance."""
        weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        return replace(self, weights=weights, provenance={**self.provenance, **provenance})


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes ``path`` (a ``.safetensors`` file) whole or not at all."""
    header = {
        "format": FORMAT,
        "arch": checkpoint.arch,
        "classes": {"names": list(checkpoint.classes.names), "colors": [list(c) for c in checkpoint.classes.colors]},
        "input": checkpoint.input.model_dump(mode="json"),
        "provenance": checkpoint.provenance,
    }
    save_tensors(checkpoint.weights, {"stpl": json.dumps(header)}, path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint from its file, or from the folder of the run that wrote it.

    Raises:
        UserError: missing, truncated, not a checkpoint of ours, or of an architecture that is not known.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path}: expected a checkpoint ({FILE_NAME}, or the folder of a run); found none")
    weights, metadata = load_tensors(file)
    try:
        header = json.loads(metadata["stpl"])
        if header["format"] != FORMAT:
            raise UserError(f"{file}: expected format {FORMAT}; found {header['format']!r}")
        classes = ClassSet(
            tuple(header["classes"]["names"]), tuple(tuple(color) for color in header["classes"]["colors"])
        )
        return Checkpoint(
            arch=str(header["arch"]),
            classes=classes,
            input=InputConfig.model_validate(header["input"]),
            weights=weights,
            provenance=dict(header["provenance"]),
            origin=str(file),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{file}: expected a checkpoint written by stpl-adapt; its header is unreadable ({error})"
        ) from None


def save_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Writes a safetensors file under a temporary name, then renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        # Through bytes: safetensors' own writer leaves the file readable by its owner alone.
        temporary.write_bytes(save(packed, metadata=dict(metadata)))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file and its metadata; a broken file is a :class:`UserError`."""
    try:
        with safe_open(str(file), framework="pt") as reader:
            tensors = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
            return tensors, reader.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: expected a safetensors file; it is truncated or of another kind ({error})") from None


def _load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str, arch: str) -> None:
    expected = model.state_dict()
    missing = [name for name in expected if name not in weights]
    surplus = [name for name in weights if name not in expected]
    if missing or surplus:
        odd = missing[0] if missing else surplus[0]
        raise UserError(
            f"{where}checkpoint of another architecture: {arch!r} expects {len(expected)} tensors; "
            f"{len(missing)} are missing and {len(surplus)} are not known, the first of them {odd!r}"
        )
    for name, tensor in expected.items():
        if tuple(weights[name].shape) != tuple(tensor.shape):
            raise UserError(
                f"{where}checkpoint of another architecture: {arch!r} expects {name!r} of shape {tuple(tensor.shape)}; "
                f"found {tuple(weights[name].shape)}"
            )
    with torch.no_grad():
        model.load_state_dict(dict(weights))
