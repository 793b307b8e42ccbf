"""Published SegFormer models: folders as ``transformers`` writes them, local or on the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from stpl.data.class_map import named_classes
from stpl.data.classes import ClassSet
from stpl.errors import UserError
from stpl.models.pth import read_state_dict
from stpl.train.checkpoint import load_tensors

HUB = "hf:"
CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""The first that is there; the second is read without unpickling anything but tensors."""


@dataclass(frozen=True)
class Published:
    """What a folder holds.

    Attributes:
        arch, options: of :func:`stpl.models.registry.build_model`.
        classes: in the order of the logits.
        input: what the folder says about preparing frames, as fields of :class:`stpl.train.checkpoint.InputConfig`.
        weights: under the names in the file.
    """

    arch: str
    options: dict[str, Any]
    classes: ClassSet
    input: dict[str, Any]
    weights: dict[str, Tensor]


def read_folder(folder: Path) -> Published:
    """Reads ``config.json``, ``preprocessor_config.json`` (where there is one) and the weights.

    Raises:
        UserError: a file is missing or broken, or the network is not a SegFormer.
    """
    from stpl.models.segformer import size_of

    config = _read_json(folder / CONFIG_FILE)
    try:
        arch, options = size_of(config)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    file = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if file is None:
        raise UserError(f"{folder}: expected {' or '.join(WEIGHT_FILES)} beside {CONFIG_FILE}; found neither")
    weights = load_tensors(file)[0] if file.suffix == ".safetensors" else read_state_dict(file)
    preprocessor = folder / PREPROCESSOR_FILE
    prepared = _input(_read_json(preprocessor), preprocessor) if preprocessor.is_file() else {}
    return Published(arch, options, _classes(config, folder), prepared, weights)


def download(address: str) -> Path:
    """The local folder of ``hf:ORG/NAME[@REVISION]``, downloaded where it is not there yet.

    Files go to the hub's own cache (``HF_HOME``); what is in it is used without a network, too.

    Raises:
        UserError: no such model, or one that is not in the cache while the hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    name, _, revision = address.removeprefix(HUB).partition("@")

    def fetch(file: str) -> Path:
        return Path(hf_hub_download(name, file, revision=revision or None))

    try:
        folder = fetch(CONFIG_FILE).parent
        for optional in (PREPROCESSOR_FILE, *WEIGHT_FILES):
            try:
                fetch(optional)
            except LocalEntryNotFoundError:  # cannot be reached, and an EntryNotFoundError besides
                if optional == WEIGHT_FILES[-1]:
                    raise
            except EntryNotFoundError:
                continue
            if optional in WEIGHT_FILES:
                break
    except HFValidationError:
        raise UserError(f"{address}: expected hf:ORGANISATION/NAME[@REVISION]") from None
    except LocalEntryNotFoundError:
        raise UserError(
            f"{address}: not in the local cache, and the hub cannot be reached; download the model where there is a "
            "network, copy its folder here, and give the folder as --model"
        ) from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{address}: expected a public model on the Hugging Face hub; {reason}") from None
    return folder


def _classes(config: Mapping[str, Any], folder: Path) -> ClassSet:
    names = config.get("id2label")
    if not isinstance(names, dict) or set(names) != {str(i) for i in range(len(names))}:
        raise UserError(f"{folder / CONFIG_FILE}: expected id2label, a name for each of the ids 0, 1, 2, …")
    try:
        return named_classes([str(names[str(i)]) for i in range(len(names))])
    except ValueError as error:
        raise UserError(f"{folder / CONFIG_FILE}: id2label: {error}") from None


def _input(config: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Size, mean and standard deviation, in units of 0..255."""
    try:
        found: dict[str, Any] = {}
        if config.get("do_resize", True) and "size" in config:
            found["height"], found["width"] = _size(config["size"])
        scale = float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0
        if config.get("do_normalize", True):
            if "image_mean" in config:
                found["mean"] = [float(v) / scale for v in config["image_mean"]]
            if "image_std" in config:
                found["std"] = [float(v) / scale for v in config["image_std"]]
        else:
            found["mean"], found["std"] = [0.0, 0.0, 0.0], [1 / scale] * 3
        return found
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise UserError(f"{file}: expected a preprocessor as transformers writes it; unreadable ({error!r})") from None


def _size(size: Any) -> tuple[int, int]:
    if isinstance(size, dict) and "shortest_edge" in size:
        size = size["shortest_edge"]
    if isinstance(size, dict):
        return int(size["height"]), int(size["width"])
    return int(size), int(size)  # older files: one number for a square


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a JSON object; found a {type(content).__name__}")
    return content
