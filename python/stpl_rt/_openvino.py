"""Loads the extension module with OpenVINO's libraries, or says what to install."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from importlib import metadata
from pathlib import Path

# The library's name carries the version: the one that was linked against is the one that must be there.
REQUIRED = "2026.4.1"


def load_core() -> None:
    """Import ``stpl_rt._core``; raise ImportError where it needs OpenVINO and that is missing or of another version.

    A module that was built without OpenVINO needs none: it has no engine for the CPU.
    """
    try:
        core = importlib.import_module("stpl_rt._core")
    except ImportError as error:
        if "libopenvino" not in str(error):
            raise
    else:
        if "openvino" in core.engines():
            check()
        return
    # The extension finds OpenVINO beside its own package; it may be installed elsewhere on the path.
    check()
    preload()
    importlib.import_module("stpl_rt._core")


def check() -> None:
    """Raise ImportError unless OpenVINO is installed in the required version."""
    remedy = f"run: python -m pip install openvino=={REQUIRED}"
    try:
        found = metadata.version("openvino")
    except metadata.PackageNotFoundError:
        raise ImportError(f"stpl_rt needs OpenVINO {REQUIRED}, which is not installed; {remedy}") from None
    if found != REQUIRED:
        raise ImportError(f"stpl_rt was built for OpenVINO {REQUIRED}, found {found}; {remedy}")


def preload() -> None:
    """Load OpenVINO's library from where Python finds the package.

    The extension module looks for it in the neighbouring folder, which misses a package in another
    site-packages folder (a user's, or the system's under a virtual environment).
    """
    spec = importlib.util.find_spec("openvino")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for library in sorted((Path(folder) / "libs").glob("libopenvino.so*")):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            return
