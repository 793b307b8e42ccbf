"""Label PNGs whose first channel holds the ids, 8 or 16 bits a channel, as SYNTHIA's are."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from stpl.errors import UserError

# Pillow drops the lower byte of 16-bit colours, which is where the ids are. FFmpeg decodes them as they are stored.
_FORMATS = {"gray", "gray16be", "rgb24", "rgb48be", "rgba", "rgba64be"}


def read_first_channel(path: Path) -> NDArray[np.uint16]:
    """The first channel (red, or grey) of a PNG, (H, W), as stored.

    Raises UserError for a missing or damaged file, and for palettes and other pixel formats.
    """
    try:
        content = path.read_bytes()
        with av.open(io.BytesIO(content), format="png_pipe") as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, OSError, StopIteration) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None)
        raise UserError(f"cannot read {path}: expected a complete PNG, found: {reason or 'no picture'}") from error
    if frame.format.name not in _FORMATS:
        raise UserError(
            f"cannot use label {path}: expected a grey or colour PNG whose first channel holds the ids, found pixel "
            f"format '{frame.format.name}'"
        )
    pixels = frame.to_ndarray()
    return np.asarray(pixels if pixels.ndim == 2 else pixels[..., 0], dtype=np.uint16)
