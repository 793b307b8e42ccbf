"""Pictures for people: frames and labels side by side with captions, contact sheets, the legend of the classes.

Pictures are (H, W, 3) uint8 RGB throughout. For painting labels see `stpl_rt.colorize` and `stpl_rt.overlay`.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from stpl.data.classes import ClassSet, Color
from stpl.data.dataset import Image


@dataclass(frozen=True)
class Style:
    """How sheets look; lengths in pixels, colours RGB."""

    background: Color = (255, 255, 255)
    text: Color = (33, 37, 41)
    font_size: int = 15
    gap: int = 8

    @property
    def line_height(self) -> int:
        """Height of a line of text with the space around it."""
        return self.font_size + self.font_size // 2 + 2


@dataclass(frozen=True)
class Panel:
    """A picture, (H, W, 3) uint8 RGB, and what stands above it (Latin letters: the font has no arrows)."""

    caption: str
    picture: Image


DEFAULT_STYLE = Style()


def side_by_side(panels: Sequence[Panel], *, height: int | None = None, style: Style = DEFAULT_STYLE) -> Image:
    """The panels in a row, each with its caption above.

    Args:
        panels: At least one; scaled to one height, aspect kept.
        height: Height of the pictures; that of the first where absent.
        style: Colours and sizes.
    """
    return contact_sheet([panels], height=height, style=style)


def contact_sheet(rows: Sequence[Sequence[Panel]], *, height: int | None = None, style: Style = DEFAULT_STYLE) -> Image:
    """Rows of panels. Columns align where the pictures have one width.

    Args:
        rows: At least one panel in each.
        height: Height of all pictures; that of the first where absent.
        style: Colours and sizes.

    Raises ValueError for no row, an empty row, or a picture of another type or shape.
    """
    if not rows or not all(rows):
        raise ValueError(f"expected at least one panel in each row, found rows of {[len(row) for row in rows]}")
    for panel in (panel for row in rows for panel in row):
        _check(panel)
    tall = height if height is not None else rows[0][0].picture.shape[0]
    strips = [_strip(row, tall, style) for row in rows]
    width = max(strip.width for strip in strips) + 2 * style.gap
    sheet = PIL.Image.new(
        "RGB", (width, sum(strip.height + style.gap for strip in strips) + style.gap), style.background
    )
    top = style.gap
    for strip in strips:
        sheet.paste(strip, (style.gap, top))
        top += strip.height + style.gap
    return np.array(sheet, dtype=np.uint8)


def legend(classes: ClassSet, *, columns: int = 6, style: Style = DEFAULT_STYLE) -> Image:
    """A swatch and the name of every class, row by row.

    Args:
        classes: Names and colours.
        columns: Classes in a row, 1 or more.
        style: Colours and sizes.
    """
    if columns < 1:
        raise ValueError(f"expected 1 column or more, found {columns}")
    font = _font(style)
    swatch = style.font_size
    step = swatch + 3 * style.gap + max(int(font.getlength(name)) for name in classes.names)
    columns = min(columns, len(classes))
    rows = -(-len(classes) // columns)
    picture = PIL.Image.new("RGB", (columns * step, rows * style.line_height + style.gap), style.background)
    draw = PIL.ImageDraw.Draw(picture)
    for position, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        left = (position % columns) * step + style.gap
        middle = (position // columns) * style.line_height + style.line_height // 2
        draw.rectangle(
            (left, middle - swatch // 2, left + swatch, middle + swatch // 2), fill=color, outline=style.text
        )
        draw.text((left + swatch + style.gap, middle), name, fill=style.text, font=font, anchor="lm")
    return np.array(picture, dtype=np.uint8)


def stack(pictures: Sequence[Image], *, style: Style = DEFAULT_STYLE) -> Image:
    """Pictures one under another, to the left, on the style's background; a sheet over its legend, for one.

    Args:
        pictures: At least one.
        style: Colours and sizes.
    """
    if not pictures:
        raise ValueError("expected at least one picture, found none")
    width = max(picture.shape[1] for picture in pictures)
    whole = np.empty((sum(picture.shape[0] for picture in pictures), width, 3), np.uint8)
    whole[:] = style.background
    top = 0
    for picture in pictures:
        whole[top : top + picture.shape[0], : picture.shape[1]] = picture
        top += picture.shape[0]
    return whole


def encode(picture: Image, kind: str = "png", *, quality: int = 88) -> bytes:
    """The picture as a PNG or JPEG file's content.

    Args:
        picture: (H, W, 3) uint8 RGB.
        kind: "png" or "jpeg".
        quality: Of a JPEG, 1 to 95.
    """
    if kind not in ("png", "jpeg"):
        raise ValueError(f"expected kind 'png' or 'jpeg', found '{kind}'")
    buffer = io.BytesIO()
    options = {"optimize": True} if kind == "png" else {"quality": quality}
    PIL.Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def data_uri(picture: Image, kind: str = "jpeg") -> str:
    """The picture as an address that holds it, for an HTML page in one file."""
    return f"data:image/{kind};base64,{base64.b64encode(encode(picture, kind)).decode('ascii')}"


def save_picture(picture: Image, path: Path) -> None:
    """Writes a PNG, or a JPEG where the name ends in .jpg or .jpeg; the file appears whole or not at all."""
    kind = "jpeg" if path.suffix.lower() in (".jpg", ".jpeg") else "png"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(encode(picture, kind))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _strip(panels: Sequence[Panel], height: int, style: Style) -> PIL.Image.Image:
    """One row of panels with captions; no margin around it."""
    pictures = [_scaled(panel.picture, height) for panel in panels]
    has_captions = any(panel.caption for panel in panels)
    top = style.line_height if has_captions else 0
    width = sum(picture.width for picture in pictures) + style.gap * (len(pictures) - 1)
    strip = PIL.Image.new("RGB", (width, top + height), style.background)
    draw, font = PIL.ImageDraw.Draw(strip), _font(style)
    left = 0
    for panel, picture in zip(panels, pictures, strict=True):
        caption = _shortened(panel.caption, font, picture.width)
        draw.text((left + picture.width // 2, top // 2), caption, fill=style.text, font=font, anchor="mm")
        strip.paste(picture, (left, top))
        left += picture.width + style.gap
    return strip


def _scaled(picture: Image, height: int) -> PIL.Image.Image:
    image = PIL.Image.fromarray(picture)
    if image.height == height:
        return image
    return image.resize((max(1, round(image.width * height / image.height)), height), PIL.Image.Resampling.LANCZOS)


Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont


def _font(style: Style) -> Font:
    return PIL.ImageFont.load_default(style.font_size)  # comes with Pillow: the same on every machine


def _shortened(text: str, font: Font, width: int) -> str:
    """`text`, or as much of its start as fits into `width` pixels with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""


def _check(panel: Panel) -> None:
    picture = panel.picture
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"expected '{panel.caption}' as (H, W, 3) uint8 RGB, found {picture.shape} {picture.dtype}")
