"""Optical flow stored in the benchmarks' files: ``.npy``, int16, ten times the pixels.

The files hold flow on the grid of frame t that points into frame t-1, which is this project's own convention, at a
resolution of their own. Source: the flow scripts published with the baselines DA-VSN, TPS and UDASS.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stpl.data.dataset import Flow
from stpl.errors import UserError

SUFFIX = "_int16_x10.npy"
UNITS_PER_PIXEL = 10
ASPECT_TOLERANCE = 0.05
"""The files' grids are rounded to whole pixels, so that their aspect ratio is not quite the frame's."""


def cityscapes_flow_name(recording: str, number: int) -> str:
    """Of frame `number` (t): `frankfurt_000000`, 294 -> `frankfurt_000000_000294_000293_int16_x10.npy`."""
    return f"{recording}_{number:06d}_{number - 1:06d}{SUFFIX}"


def viper_flow_name(sequence: str, number: int) -> str:
    """Of frame `number` (t): `001`, 10 -> `001_0001000009_int16_x10.npy`, nothing between the numbers."""
    return f"{sequence}_{number:05d}{number - 1:05d}{SUFFIX}"


def synthia_flow_name(number: int) -> str:
    """Of frame `number` (t): 1 -> `000001_int16_x10.npy`."""
    return f"{number:06d}{SUFFIX}"


def read_flow(path: Path, aspect: float) -> Flow:
    """The flow in a file, (H, W, 2) float32 (dx, dy) in pixels of its own grid.

    Args:
        aspect: width / height of the frame that it belongs to.

    Raises UserError for a file that is missing, truncated, pickled, not int16, or of another shape.
    """
    try:
        # Mapped, a header that promises more than the file holds is an error instead of an allocation.
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
        raise UserError(f"cannot read flow {path}: expected a complete .npy file of int16, found: {reason}") from error
    if not isinstance(stored, np.ndarray):  # np.load opens archives, too
        raise UserError(f"cannot read flow {path}: expected a .npy file, found an archive of arrays")
    if stored.dtype != np.int16 or stored.ndim != 3 or stored.shape[2] != 2 or stored.size == 0:
        raise UserError(
            f"cannot use flow {path}: expected int16 of shape (height, width, 2), ten times the pixels; found "
            f"{stored.dtype} of shape {stored.shape}"
        )
    height, width = stored.shape[:2]
    if abs(width / height / aspect - 1.0) > ASPECT_TOLERANCE:
        raise UserError(
            f"cannot use flow {path}: expected the frame's aspect ratio, {aspect:.3f}; found {width}x{height}, "
            f"{width / height:.3f}: it was computed on frames of another shape"
        )
    flow: Flow = stored.astype(np.float32) / np.float32(UNITS_PER_PIXEL)
    return flow
