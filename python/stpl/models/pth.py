"""Raw PyTorch weight files (``.pth``, ``.pt``) as plain state dicts, without running what they may carry.

Such a file is a pickle, and unpickling runs whatever the pickle asks for. They are read by
``torch.load(weights_only=True)`` and by nothing else: tensors and containers of them come out, everything else is
refused with a message that names it.
"""

from __future__ import annotations

import logging
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stpl.errors import UserError

SUFFIXES = (".pth", ".pt")

_CONTAINERS = ("state_dict", "model_state_dict", "model", "net")
_DEEPEST = 3  # containers within containers; a file may also hold one that contains itself
# What DistributedDataParallel and torch.compile put before every name.
_WRAPPERS = ("module.", "_orig_mod.")
_REFUSED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_EXPECTED = "expected tensors by name and nothing else"
_BROKEN = "expected a PyTorch weight file; it is truncated or of another kind"
_SAVE_AGAIN = (
    "Where the file is trusted, load it with the program that wrote it and save the weights alone: "
    "torch.save(model.state_dict(), file)"
)

_log = logging.getLogger(__name__)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` file by name, on the CPU, in the file's order.

    A training checkpoint is searched for its weights under ``state_dict``, ``model_state_dict``, ``model`` or
    ``net``; the prefixes ``module.`` (DistributedDataParallel) and ``_orig_mod.`` (torch.compile) are taken off when
    all names have them. Zip files of today's ``torch.save`` and the older format, Python 2's too, are read.

    Raises:
        UserError: missing, truncated or of another kind; holds something else than tensors; or is not a state dict.
    """
    found, inside = _load(path), ""
    for _ in range(_DEEPEST):
        if not isinstance(found, Mapping) or _is_state_dict(found):
            break
        key = next((name for name in _CONTAINERS if isinstance(found.get(name), Mapping)), None)
        if key is None:
            break
        found, inside = found[key], f"{inside}[{key!r}]"
    if not _is_state_dict(found):
        raise UserError(f"{path}{inside}: expected a state dict (tensors by name); found {_describe(found)}")
    for name, tensor in found.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise UserError(f"{path}{inside}: expected dense tensors; found {name!r} of layout {tensor.layout}")
    if inside:
        _log.info("%s: read the weights under %s", path, inside)
    return without_wrappers({name: tensor.detach() for name, tensor in found.items()})


def without_wrappers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, their names without ``module.`` and ``_orig_mod.`` where every name has them."""
    names = list(weights)
    while names and (prefix := next((p for p in _WRAPPERS if all(name.startswith(p) for name in names)), None)):
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, weights.values(), strict=True))


def with_batch_counters(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds batch normalisation's ``num_batches_tracked``, which files older than PyTorch 0.4.1 lack.

    Args:
        weights: the file's tensors.
        expected: the network's own state dict, which gives the counters' values (zero for a new network).
    """
    counters = {name: value for name, value in expected.items() if name.endswith(".num_batches_tracked")}
    lacking = {name: value for name, value in counters.items() if name not in weights}
    # A counter alone is missing only from a layer that is there.
    return {
        **weights,
        **{name: v for name, v in lacking.items() if name.replace("num_batches_tracked", "running_mean") in weights},
    }


def _load(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: expected a PyTorch weight file ({' or '.join(SUFFIXES)}); found none")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols and archives: what matters is said below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from None
    except Exception as error:
        # Broken archives surface as RuntimeError, EOFError, KeyError, UnicodeDecodeError, ... by where they broke.
        if "TorchScript" in str(error):
            raise UserError(f"{path}: {_EXPECTED}; found a TorchScript program. {_SAVE_AGAIN}") from None
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"{path}: {_BROKEN} ({reason})") from None


def _refusal(path: Path, text: str) -> UserError:
    """Names what the safe reader refused: it says so in a long text of advice that is not ours to give."""
    match = _REFUSED_GLOBAL.search(text)
    if match is not None:
        return UserError(
            f"{path}: {_EXPECTED}; found the Python object '{match[1]}', which is not unpickled because it could run "
            f"code. {_SAVE_AGAIN}"
        )
    if "Unsupported operand" in text:  # an opcode that torch.save never writes
        return UserError(f"{path}: {_BROKEN}")
    return UserError(f"{path}: {_EXPECTED}; found other Python objects. {_SAVE_AGAIN}")


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(item, Tensor) for name, item in value.items())
    )


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    if not isinstance(value, Mapping):
        return f"a {type(value).__name__}"
    if not value:
        return "an empty one"
    odd = next(name for name, item in value.items() if not (isinstance(name, str) and isinstance(item, Tensor)))
    names = ", ".join(repr(name) for name in list(value)[:5])
    return f"a {type(value[odd]).__name__} under {odd!r} (its names: {names}{', …' if len(value) > 5 else ''})"
