"""stpl: adapts a segmentation model to unlabelled video and exports it for the `stpl_rt` runtime."""

from importlib import metadata

try:
    __version__ = metadata.version("stpl")
except metadata.PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
