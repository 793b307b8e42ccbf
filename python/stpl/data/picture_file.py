"""Reads the frames and labels that lie in picture files, refusing what would be misread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

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
    with _opened(path) as picture:
        if picture.mode not in _FRAME_MODES:
            raise UserError(
                f"cannot use {path}: expected 8 bits a channel, found pixel format '{picture.mode}'; convert it"
            )
        return np.array(picture.convert("RGB"), dtype=np.uint8)


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header, without decoding it."""
    with _opened(path) as picture:
        return picture.height, picture.width


def read_ids(path: Path) -> LabelMap:
    """The ids stored in an 8-bit grey or palette PNG, (H, W) uint8, as they are in the file.

    Raises UserError for any other kind of picture: Pillow would turn 1- to 4-bit grey into other ids, and a colour
    picture has none.
    """
    with _opened(path) as picture:
        with path.open("rb") as file:
            header = file.read(26)
        if len(header) < 26 or header[:8] != _PNG_SIGNATURE:
            raise UserError(f"cannot use label {path}: expected a PNG, found a {picture.format} file")
        bits, kind = header[24], _PNG_COLOR_TYPES.get(header[25], "unknown")
        if not (kind == "palette" or (kind == "grey" and bits == 8)):
            raise UserError(
                f"cannot use label {path}: expected an 8-bit grey or palette PNG of class ids, found {bits}-bit {kind}"
            )
        return np.array(picture, dtype=np.uint8)


def resized(
    picture: NDArray[np.uint8],
    size: tuple[int, int] | None,
    resampling: PIL.Image.Resampling = PIL.Image.Resampling.BICUBIC,
) -> NDArray[np.uint8]:
    """A picture or label brought to (height, width) by Pillow, as published protocols have it; itself for None."""
    if size is None or picture.shape[:2] == size:
        return picture
    return np.array(PIL.Image.fromarray(picture).resize((size[1], size[0]), resampling), dtype=np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[PIL.Image.Image]:
    """The picture, with whatever Pillow says of a damaged file turned into a UserError."""
    try:
        with PIL.Image.open(path) as picture:
            yield picture
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"cannot read {path}: no such file") from error
    except PIL.UnidentifiedImageError as error:
        raise UserError(f"cannot read {path}: expected a complete JPEG or PNG, found: not a picture") from error
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise UserError(f"cannot read {path}: expected a complete JPEG or PNG, found: {error}") from error
