"""Frames and labels in folders: `<root>/<sequence>/frames/*.jpg`, `<sequence>/labels/*.png`, `dataset.yaml`."""

from __future__ import annotations

import fnmatch
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stpl.data.dataset import FrameId, Image, LabelMap, VideoDataset
from stpl.data.folder_config import FolderConfig
from stpl.data.picture_file import is_picture, picture_size, read_frame, read_ids
from stpl.errors import UserError, nearest
from stpl.validation import read_mapping, validate

logger = logging.getLogger(__name__)

CONFIG_NAME = "dataset.yaml"
LAYOUT = "<sequence>/frames/*.jpg or .png, or frames/*.jpg or .png, or pictures directly in it"


@dataclass(frozen=True)
class _Sequence:
    name: str
    frames: list[Path]
    labels: list[Path | None]  # one for each frame


class FolderDataset(VideoDataset):
    """Video as picture files, one folder a sequence, optionally with labels.

    Args:
        root: Folder that holds `<sequence>/frames/`, or `frames/`, or the pictures themselves (one sequence).
        sequences: Patterns (`*`, `?`, `[…]`) of sequence names to use; all where empty.

    Frames are in natural order of their names (`2.jpg` before `10.jpg`); the label of `frames/x.jpg` is
    `labels/x.png`, 8-bit ids as listed in `dataset.yaml`. Its order of classes gives the training ids; its
    `ignore_index` becomes IGNORE_ID. Without a `dataset.yaml` labels have no meaning and are left unread.

    Raises UserError for a missing root, a folder without frames, a bad `dataset.yaml`, a pattern that matches nothing;
    reading raises it for damaged pictures, labels of another size than the frame, and ids outside the class list.

    `shortfalls` says what `dataset.yaml` promises and is not there.
    """

    def __init__(self, root: Path | str, sequences: Sequence[str] = ()) -> None:
        self.root = Path(root).absolute()
        if not self.root.is_dir():
            found = "a file" if self.root.exists() else "nothing"
            raise UserError(f"expected a folder of frames at {root}, found {found} there")
        config_file = self.root / CONFIG_NAME
        self._config = _read_config(config_file) if config_file.exists() else None
        self.classes = self._config.class_set() if self._config is not None else None
        self._training_ids = self._config.training_ids() if self._config is not None else None
        self.name = (self._config.name if self._config is not None else None) or self.root.name
        parts = [_read_sequence(name, folder, labels) for name, folder, labels in _select(self.root, sequences)]
        if self.classes is None and any(label is not None for part in parts for label in part.labels):
            logger.warning("%s has labels but no %s that says what they mean: they are not used", root, CONFIG_NAME)
            parts = [_Sequence(part.name, part.frames, [None] * len(part.frames)) for part in parts]
        self.sequences = [part.name for part in parts]
        self._frames = [frame for part in parts for frame in part.frames]
        self._labels = [label for part in parts for label in part.labels]
        self._ids = [FrameId(part.name, file.stem, i) for part in parts for i, file in enumerate(part.frames)]
        self.fps = self._common_fps()
        self.shortfalls = self._shortfalls(parts, all_wanted=not sequences)
        for shortfall in self.shortfalls:
            logger.warning("%s: %s", self.root, shortfall)

    def __len__(self) -> int:
        return len(self._frames)

    def frame_id(self, index: int) -> FrameId:
        return self._ids[self._checked(index)]

    def frame(self, index: int) -> Image:
        return read_frame(self._frames[self._checked(index)])

    def label(self, index: int) -> LabelMap | None:
        file = self._labels[self._checked(index)]
        if file is None or self._config is None or self._training_ids is None:
            return None
        stored = read_ids(file)
        size = picture_size(self._frames[index])
        if stored.shape != size:
            raise UserError(
                f"label {file}: expected the size of its frame, {size[1]}x{size[0]}, "
                f"found {stored.shape[1]}x{stored.shape[0]}"
            )
        training: NDArray[np.int16] = self._training_ids[stored]
        if training.min() < 0:
            found = ", ".join(str(i) for i in np.unique(stored[training < 0]))
            raise UserError(
                f"label {file}: found ids outside the class list: {found}; expected {self._config.expected_ids()} "
                f"(as {CONFIG_NAME} lists them)"
            )
        return training.astype(np.uint8)

    def labelled(self) -> list[int]:
        return [index for index, label in enumerate(self._labels) if label is not None]

    def files(self, *, labels: bool = False, flow: bool = False) -> list[Path]:
        if not labels or self._config is None:
            return list(self._frames)
        return [*self._frames, *(label for label in self._labels if label is not None), self.root / CONFIG_NAME]

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self._frames):
            raise IndexError(f"expected a frame index 0 to {len(self._frames) - 1}, found {index}")
        return index

    def _common_fps(self) -> float | None:
        if self._config is None:
            return None
        rates = {self._config.fps_of(name) for name in self.sequences}
        return rates.pop() if len(rates) == 1 else None

    def _shortfalls(self, parts: list[_Sequence], *, all_wanted: bool) -> list[str]:
        """What `dataset.yaml` promises and is not there: an incomplete copy is usable, but the user should know."""
        declared = self._config.sequences if self._config is not None else {}
        frames = {part.name: len(part.frames) for part in parts}
        missing = []
        for name, info in declared.items():
            if name not in frames and all_wanted:
                missing.append(f"{CONFIG_NAME} lists sequence '{name}', which is not there")
            elif name in frames and info.frames is not None and info.frames != frames[name]:
                missing.append(f"expected {info.frames} frames in '{name}' ({CONFIG_NAME}), found {frames[name]}")
        return missing


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which numbers inside names count as numbers: frame2 before frame10."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)


def has_frames(root: Path) -> bool:
    """Whether `root` is laid out as this format expects."""
    return bool(_find(root))


def _read_config(file: Path) -> FolderConfig:
    return validate(read_mapping(file), FolderConfig, str(file))


def _find(root: Path) -> list[tuple[str, Path, Path | None]]:
    """(name, folder of frames, folder of labels) of every sequence under `root`."""
    below = [folder for folder in _entries(root) if (folder / "frames").is_dir()]
    if below:
        ordered = sorted(below, key=lambda folder: natural_key(folder.name))
        return [(folder.name, folder / "frames", folder / "labels") for folder in ordered]
    if (root / "frames").is_dir():
        return [(root.name, root / "frames", root / "labels")]
    if any(is_picture(file) for file in _entries(root)):
        return [(root.name, root, None)]
    return []


def _select(root: Path, patterns: Sequence[str]) -> list[tuple[str, Path, Path | None]]:
    found = _find(root)
    if not found:
        raise UserError(f"no frames under {root}: expected {LAYOUT}")
    names = [name for name, _, _ in found]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            close = nearest(pattern, names)
            hint = f"did you mean '{close}'? " if close is not None else ""
            shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
            raise UserError(f"no sequence of {root} matches '{pattern}': {hint}Expected one of: {shown}")
    return [part for part in found if not patterns or any(fnmatch.fnmatchcase(part[0], p) for p in patterns)]


def _read_sequence(name: str, frames_folder: Path, labels_folder: Path | None) -> _Sequence:
    frames = sorted(filter(is_picture, _entries(frames_folder)), key=lambda file: (natural_key(file.stem), file.name))
    if not frames:
        raise UserError(f"no frames in {frames_folder}: expected *.jpg or *.png")
    stems = {frame.stem for frame in frames}
    if len(stems) < len(frames):
        twice = next(stem for stem, files in Counter(frame.stem for frame in frames).items() if files > 1)
        raise UserError(f"expected one file for each frame in {frames_folder}, found more than one named '{twice}'")
    labels = {}
    if labels_folder is not None and labels_folder.is_dir():
        labels = {file.stem: file for file in _entries(labels_folder) if is_picture(file)}
    strangers = sorted(labels.keys() - stems)
    if strangers:
        shown = f"{labels[strangers[0]].name} and {len(strangers) - 1} more"
        if len(strangers) == len(labels):
            raise UserError(f"no label in {labels_folder} has a frame of the same name: found {shown}")
        logger.warning("labels without a frame in %s: %s", labels_folder, shown)
    return _Sequence(name, frames, [labels.get(frame.stem) for frame in frames])


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"cannot read folder {folder}: {error.strerror}") from error
