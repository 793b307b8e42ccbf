"""Finds OpenVINO's libraries for the extension module, or says what to install."""

from __future__ import annotations

import ctypes
import importlib.util
from importlib import metadata
from pathlib import Path

# The library's name carries the version: the one that was linked against is the one that must be there.
REQUIRED = "2026.4.1"


def check() -> None:
    """Raise ImportError unless OpenVINO is installed in the required version."""
    remedy = f"run: python -m pip install openvino=={REQUIRED}"
    try:
        found = metadata.version("openvino")
    except metadata.PackageNotFoundError:
        raise ImportError(f"stpl_rt needs OpenVINO {REQUIRED}, which is not installed; {remedy}") from None
    if found != REQUIRED:
        raise ImportError(f"stpl_rt was built for OpenVINO {REQUIRED}, found {found}; {remedy}")


def preload() -> bool:
    """Load OpenVINO's library from where Python finds the package.

    The extension module looks for it in the neighbouring folder, which misses a package in another
    site-packages folder (a user's, or the system's under a virtual environment). Returns whether one was loaded.
    """
    spec = importlib.util.find_spec("openvino")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for library in sorted((Path(folder) / "libs").glob("libopenvino.so*")):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            return True
    return False
