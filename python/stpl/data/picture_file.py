"""Reads the frames and labels that lie in picture files, refusing what would be misread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from stpl.data.dataset import Image, LabelMap
from stpl.errors import UserError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")

_FRAME_MODES = {"RGB", "RGBA", "L", "LA", "P", "PA", "CMYK", "YCbCr", "1"}  # 8 bits or less a channel
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture (hidden files, as some systems leave behind, are not)."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def read_frame(path: Path) -> Image:
    """A JPEG or PNG as (H, W, 3) uint8 RGB. Raises UserError for a missing, truncated or more-than-8-bit file."""
    try:
        with PIL.Image.open(path) as picture:
            if picture.mode not in _FRAME_MODES:
                raise UserError(
                    f"cannot use {path}: expected 8 bits a channel, found pixel format '{picture.mode}'; convert it"
                )
            return np.array(picture.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError) as error:  # Pillow reports some broken PNGs as SyntaxError
        raise _unreadable(path, error) from error


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header, without decoding it."""
    try:
        with PIL.Image.open(path) as picture:
            return picture.height, picture.width
    except (OSError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def read_ids(path: Path) -> LabelMap:
    """The ids stored in an 8-bit grey or palette PNG, (H, W) uint8, as they are in the file.

    Raises UserError for any other kind of picture: Pillow would turn 1- to 4-bit grey into other ids, and a colour
    picture has none.
    """
    try:
        with path.open("rb") as file:
            header = file.read(26)
        if len(header) < 26 or header[:8] != _PNG_SIGNATURE:
            raise UserError(f"cannot read label {path}: expected a PNG, found another kind of file")
        bits, kind = header[24], _PNG_COLOR_TYPES.get(header[25], "unknown")
        if not (kind == "palette" or (kind == "grey" and bits == 8)):
            raise UserError(
                f"cannot use label {path}: expected an 8-bit grey or palette PNG of class ids, found {bits}-bit {kind}"
            )
        with PIL.Image.open(path) as picture:
            return np.array(picture, dtype=np.uint8)
    except (OSError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"cannot read {path}: no such file")
    reason = str(error) if not isinstance(error, PIL.UnidentifiedImageError) else "not a picture"
    return UserError(f"cannot read {path}: expected a complete JPEG or PNG, found: {reason}")
