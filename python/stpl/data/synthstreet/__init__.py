"""Generated street video: labels and flow exact, looks by domain, every frame by itself."""

from .dataset import CLASSES, Options, SynthStreet
from .domains import DOMAINS

__all__ = ["CLASSES", "DOMAINS", "Options", "SynthStreet"]
