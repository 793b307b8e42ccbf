"""The one place that imports TensorRT: ``tensorrt`` (NVIDIA's SDK, JetPack) or ``tensorrt_rtx`` (a wheel on PyPI)."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stpl.errors import UserError, unknown_name

FLAVOURS = ("tensorrt", "tensorrt_rtx")
"""Modules that speak the same interface, in the order in which they are looked for.

A plan of one flavour means nothing to the other. The SDK's comes first: who has installed it has a GPU that it knows.
"""


_LIBRARIES = {"tensorrt": "libnvinfer", "tensorrt_rtx": "libtensorrt_rtx"}


class PlanError(RuntimeError):
    """TensorRT cannot build a plan; the message holds what it says of the reason."""


@dataclass(frozen=True)
class TensorRT:
    """An installed TensorRT.

    Attributes:
        flavour: of :data:`FLAVOURS`, also the module's name.
        version: all four numbers of the library, as the runtime in C++ names plans. The SDK's Python module may know
            three of them, and plans are not carried from one build to another.
        module: the module. Typed as nothing: each flavour's has members that the other lacks.
    """

    flavour: str
    version: str
    module: Any

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT for RTX, which builds without a GPU and chooses kernels where the plan is loaded."""
        return self.flavour == "tensorrt_rtx"

    def __str__(self) -> str:
        return f"{self.flavour} {self.version}"


def load_tensorrt(flavour: str | None = None) -> TensorRT:
    """Imports TensorRT.

    Args:
        flavour: of :data:`FLAVOURS`; the first that is there where None.

    Raises:
        UserError: it is not installed, or cannot be loaded.
    """
    if flavour is not None and flavour not in FLAVOURS:
        raise unknown_name("TensorRT library", flavour, FLAVOURS)
    wanted = FLAVOURS if flavour is None else (flavour,)
    faults = []
    for name in wanted:
        try:
            module = importlib.import_module(name)
            return TensorRT(name, library_version(name) or str(module.__version__), module)
        except ModuleNotFoundError as error:
            if error.name != name:  # the package is there, something that it needs is not
                faults.append(f"{name}, which cannot be loaded ({error})")
        except (ImportError, OSError, AttributeError, RuntimeError) as error:
            faults.append(f"{name}, which cannot be loaded ({' '.join(str(error).split())})")
    raise UserError(
        f"expected TensorRT's Python package, {' or '.join(wanted)}; found {' and '.join(faults) or 'none'}: "
        "pip install 'stpl[tensorrt]' installs tensorrt_rtx; tensorrt comes with NVIDIA's SDK and with JetPack"
    )


def library_version(flavour: str) -> str | None:
    """What the library itself says, once it is loaded; None where it cannot be asked."""
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        found = re.search(rf"/\S*/{_LIBRARIES[flavour]}\.so\S*", mapped)
        if found is None:
            return None
        library = ctypes.CDLL(found[0])
        parts = (getattr(library, f"getInferLib{part}Version")() for part in ("Major", "Minor", "Patch", "Build"))
        return ".".join(str(part) for part in parts)
    except (OSError, AttributeError):
        return None


def installed_flavours() -> list[str]:
    """The modules that could be imported; nothing is."""
    return [name for name in FLAVOURS if importlib.util.find_spec(name) is not None]
