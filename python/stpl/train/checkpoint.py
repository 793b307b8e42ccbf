"""Checkpoints: weights as safetensors, with everything needed to use them in the file's header.

Nothing is unpickled. A checkpoint knows its architecture, its classes, how its input is prepared (the
calibration's look-up table included) and where it comes from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import stpl_rt
from stpl.config import Config
from stpl.data.class_map import ClassMap
from stpl.data.classes import ClassSet
from stpl.errors import UserError
from stpl.models.factory import is_factory
from stpl.models.merged import MergedClasses
from stpl.models.registry import build_model

FORMAT = "stpl-checkpoint-1"
FILE_NAME = "checkpoint.safetensors"


class InputConfig(Config):
    """How a frame becomes the network's input: ``(resize(lut[pixel]) - mean) / std``, in units of 0..255.

    ``mean`` and ``std`` are in ``color_order``, the order of the input's planes; ``lut`` has a table for each of R, G
    and B whatever the order.
    """

    height: int = 240
    width: int = 320
    mean: tuple[float, float, float] = (123.7, 116.3, 103.5)
    std: tuple[float, float, float] = (58.4, 57.1, 57.4)
    color_order: Literal["rgb", "bgr"] = "rgb"
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
            color_order=self.color_order,
            resize=self.resize,
            filter=self.filter,
        )


@dataclass(frozen=True)
class Merge:
    """How the classes of a checkpoint are made of those of its network (:class:`stpl.models.merged.MergedClasses`).

    Attributes:
        names: of the network's own classes, in the order of its logits.
        groups: for each class of the checkpoint, the network's classes that are it.
    """

    names: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they mean.

    Attributes:
        arch: a name of :data:`stpl.models.MODELS`, or ``package.module:factory``, which is imported when it is built.
        classes: names and colours, in the order of the logits.
        input: how frames are prepared for it.
        weights: the network's state dict, on the CPU.
        provenance: how it came about (method, data, seed, steps, version).
        options: of architectures that come in sizes.
        merge: where its classes are not the network's own; the names of the weights then begin with ``network.``.
    """

    arch: str
    classes: ClassSet
    input: InputConfig
    weights: Mapping[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)
    origin: str = field(default="", compare=False)
    """The file it was read from, for messages."""
    options: Mapping[str, Any] = field(default_factory=dict)
    merge: Merge | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of weights, input and classes, the first twelve digits: tells one checkpoint from another."""
        sha = hashlib.sha256(self.input.model_dump_json().encode())
        sha.update(repr((self.classes.names, self.merge)).encode())
        for name in sorted(self.weights):
            sha.update(name.encode())
            sha.update(self.weights[name].detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()[:12]

    def build(self) -> nn.Module:
        """The network with these weights, in evaluation mode."""
        classes = len(self.classes) if self.merge is None else len(self.merge.names)
        model = build_model(self.arch, classes, self.options, size=(self.input.height, self.input.width))
        if self.merge is not None:
            model = MergedClasses(model, self.merge.groups)
        _load_weights(model, self.weights, f"{self.origin}: " if self.origin else "", self.arch)
        return model.eval()

    def with_weights(self, model: nn.Module, **provenance: Any) -> Checkpoint:
        """The same checkpoint with another network's weights and further provenance."""
        weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        return replace(self, weights=weights, provenance={**self.provenance, **provenance})

    def with_classes(self, class_map: ClassMap) -> Checkpoint:
        """The same network with the classes of a data set: renamed, merged, left out, as the map says."""
        if class_map.model.names != self.classes.names:
            raise ValueError(
                f"expected a map of the classes {self.classes.names}; found one of {class_map.model.names}"
            )
        groups = class_map.groups
        if groups == tuple((i,) for i in range(len(self.classes))):
            return replace(self, classes=class_map.merged)
        if self.merge is not None:  # groups of groups: the logarithm of a sum of sums is that of one sum
            inner = self.merge.groups
            merge = Merge(
                self.merge.names, tuple(tuple(i for member in group for i in inner[member]) for group in groups)
            )
            return replace(self, classes=class_map.merged, merge=merge)
        weights = {f"network.{name}": tensor for name, tensor in self.weights.items()}
        return replace(self, classes=class_map.merged, merge=Merge(self.classes.names, groups), weights=weights)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Writes ``path`` (a ``.safetensors`` file) whole or not at all."""
    header = {
        "format": FORMAT,
        "arch": checkpoint.arch,
        "classes": {"names": list(checkpoint.classes.names), "colors": [list(c) for c in checkpoint.classes.colors]},
        "input": checkpoint.input.model_dump(mode="json"),
        "provenance": checkpoint.provenance,
    }
    if checkpoint.options:
        header["options"] = dict(checkpoint.options)
    if checkpoint.merge is not None:
        header["merge"] = {"names": checkpoint.merge.names, "groups": checkpoint.merge.groups}
    save_tensors(checkpoint.weights, {"stpl": json.dumps(header)}, path)


def load_checkpoint(path: Path, arch: str | None = None) -> Checkpoint:
    """Reads a checkpoint from its file, or from the folder of the run that wrote it.

    Args:
        arch: the architecture that the caller says it is. A checkpoint of the user's own code
            (``package.module:factory``) is read only so: a file must not choose which code is imported.

    Raises:
        UserError: missing, truncated, not a checkpoint of ours, of another architecture than ``arch``, or of the
            user's own code without ``arch``.
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
        merge = header.get("merge")
        return Checkpoint(
            arch=_agreed_arch(str(header["arch"]), arch, file),
            classes=classes,
            input=InputConfig.model_validate(header["input"]),
            weights=weights,
            provenance=dict(header["provenance"]),
            origin=str(file),
            options=dict(header.get("options", {})),
            merge=None if merge is None else Merge(tuple(merge["names"]), tuple(tuple(g) for g in merge["groups"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{file}: expected a checkpoint written by stpl-adapt; its header is unreadable ({error})"
        ) from None


def _agreed_arch(written: str, said: str | None, file: Path) -> str:
    """The architecture to build: the file's, and for the user's own code the one that the user names."""
    if is_factory(written):
        if said is None:
            raise UserError(
                f"{file}: the network is your own code, '{written}', and a file must not choose what is imported: "
                f"where you trust it, say --arch {written} (for stpl-adapt source: --model {written})"
            )
        return said
    if said is not None and said != written:
        raise UserError(f"{file}: expected a checkpoint of architecture '{said}'; found '{written}'")
    return written


def save_tensors(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path, also: Path | None = None
) -> None:
    """Writes a safetensors file under a temporary name, then renames it.

    Args:
        also: a second name for the same content. It has it before ``path`` does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of one that was killed, it may be another name of a file that is kept
    try:
        packed: dict[str, Tensor] = {}
        stored: set[int] = set()
        for name, tensor in tensors.items():
            packed[name] = tensor.detach().cpu().contiguous()
            if packed[name].untyped_storage().data_ptr() in stored:  # a weight under two names; safetensors refuses it
                packed[name] = packed[name].clone()
            stored.add(packed[name].untyped_storage().data_ptr())
        # Through bytes: safetensors' own writer leaves the file readable by its owner alone.
        with temporary.open("wb") as file:
            file.write(save(packed, metadata=dict(metadata)))
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the name without the content
        if also is not None:
            _name_also(temporary, also)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _name_also(file: Path, name: Path) -> None:
    """Gives the content of a file, which nobody writes into any more, a second name, whole or not at all."""
    unfinished = name.with_name(f".{name.name}.{os.getpid()}.tmp")
    unfinished.unlink(missing_ok=True)
    try:
        try:
            os.link(file, unfinished)
        except OSError:  # not every file system has links
            with file.open("rb") as content, unfinished.open("wb") as copy:
                shutil.copyfileobj(content, copy)
                copy.flush()
                os.fsync(copy.fileno())
        unfinished.replace(name)
    finally:
        unfinished.unlink(missing_ok=True)


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
