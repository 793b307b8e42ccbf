"""What ``stpl-adapt segment`` writes: label maps as PNG files and an overlay as video."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import PIL.Image

from stpl.cli.frames import StreamFrame
from stpl.data.dataset import LabelMap
from stpl.data.picture_file import is_picture
from stpl.errors import UserError
from stpl_rt import overlay
from stpl_rt.video import VideoError, VideoWriter


class LabelFolder:
    """One 8-bit grey PNG of class ids a frame, named after it; a folder a sequence where there are several.

    Each file is whole or not there. After an error those written stay: of a camera's hours, nothing is lost.

    Args:
        folder: made where it is missing.
        input_address: what is read; its own pictures are never replaced.
        nested: whether there are several sequences.
        overwrite: replace files of the same names.

    Raises:
        UserError: the folder holds pictures and ``overwrite`` is not given, or they are the input's own.
    """

    def __init__(self, folder: Path, input_address: str, *, nested: bool, overwrite: bool) -> None:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--labels-out {folder}: expected a folder; found a file")
        if folder.is_dir() and any(is_picture(file) for file in folder.rglob("*")):
            if _lies_in(folder, input_address):
                raise UserError(f"--labels-out {folder}: lies in the input and holds pictures, which would be lost")
            if not overwrite:
                raise UserError(f"--labels-out {folder}: already holds pictures; replace them with --overwrite")
        self.folder = folder
        self._nested = nested
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, frame: StreamFrame, labels: LabelMap) -> Path:
        """Writes the labels, (H, W) uint8, of a frame under a temporary name, then renames them."""
        folder = self.folder / frame.sequence if self._nested else self.folder
        if frame.starts_sequence:
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{frame.name}.png"
        unfinished = folder / f".{frame.name}.{os.getpid()}.part"
        try:
            # Level 1: label maps compress well at any level, and this is a third of the default's time.
            PIL.Image.fromarray(labels).save(unfinished, "png", compress_level=1)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path


class OverlayVideo:
    """The frames with the painted labels over them, as H.264. A context manager; the file appears at its end.

    Also after Ctrl-C: a camera's stream has no other end. An error leaves no file.

    Raises:
        UserError: the file exists and ``overwrite`` is not given, its name does not end in .mp4, or FFmpeg cannot
            write it.
    """

    def __init__(self, path: Path, fps: float, colors: Sequence[Sequence[int]], *, overwrite: bool) -> None:
        if path.exists() and not overwrite:
            raise UserError(f"--overlay-out {path}: already exists; replace it with --overwrite")
        self.path = path
        self._colors = colors
        self._size: tuple[int, ...] | None = None
        try:
            self._writer = VideoWriter(path, fps)
        except ValueError as error:  # VideoError is one
            raise UserError(f"--overlay-out {error}") from error

    def write(self, frame: StreamFrame, labels: LabelMap) -> None:
        """Appends a frame. UserError where its size is not the first one's."""
        size = frame.pixels.shape[:2]
        self._size = self._size or size
        if size != self._size:
            raise UserError(
                f"--overlay-out: expected frames of one size, {self._size[1]}x{self._size[0]}; found "
                f"{size[1]}x{size[0]} in '{frame.sequence}' {frame.name}: name one sequence, or write labels only"
            )
        try:
            self._writer.write(overlay(frame.pixels, labels, self._colors))
        except VideoError as error:
            raise UserError(f"--overlay-out {error}") from error

    def __enter__(self) -> OverlayVideo:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._writer.close()
        else:
            self._writer.discard()


def _lies_in(folder: Path, address: str) -> bool:
    """Whether ``folder`` is the input's own or lies below it."""
    root = Path(address.partition("?")[0].removeprefix("folder:")).expanduser().resolve()
    return root.is_dir() and folder.resolve().is_relative_to(root)
