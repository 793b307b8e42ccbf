"""VIPER: `train/img/NNN/NNN_FFFFF.jpg`, labels in `train/cls/NNN/NNN_FFFFF.png`.

Source: Richter et al., "Playing for Benchmarks", ICCV 2017; list, size and ego-car rule are those of DA-VSN and TPS.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from stpl.data.benchmark_classes import VIPER
from stpl.data.classes import IGNORE_ID
from stpl.data.dataset import Image, LabelMap
from stpl.data.flow_files import viper_flow_name
from stpl.data.numbered_frames import Listing, NumberedFrame, NumberedVideo, entries, require_same_size
from stpl.data.picture_file import picture_size, read_frame, read_ids, resized
from stpl.errors import UserError

IMAGES, LABELS = Path("train", "img"), Path("train", "cls")
SEQUENCES = tuple(f"{number:03d}" for number in range(1, 78))
SIZE = (720, 1280)
CAR_ID = 24

_STEM = re.compile(r"(\d{3})_(\d{5})")


class Viper(NumberedVideo):
    """The 77 training sequences at 1280x720; labelled are the annotated frames whose number ends in 0.

    Args:
        root: folder that holds `train/img` and `train/cls`.
        context: see :class:`stpl.data.numbered_frames.NumberedVideo`.
        flow: folder of stored flow.

    Raises UserError for folders without frames.
    """

    published = {"train": 13367}  # noqa: RUF012 (read only)

    def __init__(self, root: Path, *, context: int | None = None, flow: Path | None = None) -> None:
        self.root = root.absolute()
        super().__init__("viper", list_frames(self.root), VIPER, context=context, flow=flow)

    def read_image(self, frame: NumberedFrame) -> Image:
        return resized(read_frame(frame.image), SIZE)

    def read_label(self, frame: NumberedFrame, label: Path) -> LabelMap:
        stored = read_ids(label)
        require_same_size(label, stored.shape, picture_size(frame.image))
        ids = resized(stored, SIZE, PIL.Image.Resampling.NEAREST)
        training: LabelMap = self.training_ids[ids]
        training[ego_car(ids)] = IGNORE_ID
        return training

    def part(self, frame: NumberedFrame) -> str:
        return "train"

    def image_name(self, recording: str, number: int) -> str:
        return f"{recording}_{number:05d}.jpg"

    def flow_name(self, frame: NumberedFrame) -> str:
        return viper_flow_name(frame.recording, frame.number)


def list_frames(root: Path) -> Listing:
    """The pictures of sequences 001 to 077 and the labels of the list. UserError where there are no pictures."""
    images = _by_number(root / IMAGES, ".jpg")
    if not images:
        raise UserError(f"no frames in {root / IMAGES}: expected NNN/NNN_FFFFF.jpg of sequences 001 to 077")
    labels = _by_number(root / LABELS, ".png") if (root / LABELS).is_dir() else {}
    return Listing.joined(images, {key: label for key, label in labels.items() if key[1] % 10 == 0})


def ego_car(ids: LabelMap) -> NDArray[np.bool_]:
    """Where the car is that carries the camera: the 8-connected region of cars that holds the bottom-centre pixel.

    Args:
        ids: (H, W) VIPER's ids.

    Returns (H, W); False everywhere where that pixel is no car.
    """
    cars = np.asarray(ids == CAR_ID)
    mask = np.zeros(ids.shape, np.bool_)
    height, width = cars.shape
    if not cars[-1, width // 2]:
        return mask
    runs = [_runs(row) for row in cars]
    bottom = next(run for run in runs[-1] if run[0] <= width // 2 < run[1])
    waiting = [(height - 1, bottom)]
    mask[-1, slice(*bottom)] = True
    while waiting:
        row, (start, end) = waiting.pop()
        for beside in (row - 1, row + 1):
            for run in runs[beside] if 0 <= beside < height else ():
                if run[0] <= end and start <= run[1] and not mask[beside, run[0]]:  # they touch, corners included
                    mask[beside, slice(*run)] = True
                    waiting.append((beside, run))
    return mask


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, end) of each stretch of True, end exclusive."""
    edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _by_number(folder: Path, suffix: str) -> dict[tuple[str, int], Path]:
    found = {}
    for sequence in entries(folder):
        for file in entries(sequence) if sequence.name in SEQUENCES else ():
            match = _STEM.fullmatch(file.stem) if file.suffix == suffix else None
            if match is not None and match[1] == sequence.name:
                found[match[1], int(match[2])] = file
    return found
