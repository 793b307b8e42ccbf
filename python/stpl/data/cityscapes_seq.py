"""Cityscapes-Seq: `leftImg8bit_sequence/{split}/<city>/*_leftImg8bit.png`, labels in `gtFine/{split}/<city>`.

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016; the frames used for
domain adaptation are those that gtFine labels, the 20th of every snippet of 30.
"""

from __future__ import annotations

import re
from pathlib import Path

import PIL.Image

from stpl.data.benchmark_classes import CITYSCAPES
from stpl.data.dataset import Image, LabelMap
from stpl.data.flow_files import cityscapes_flow_name
from stpl.data.numbered_frames import Listing, NumberedFrame, NumberedVideo, entries, require_same_size
from stpl.data.picture_file import picture_size, read_frame, read_ids, resized
from stpl.errors import UserError, unknown_name

IMAGES, LABELS = "leftImg8bit_sequence", "gtFine"
IMAGE_END, LABEL_END = "_leftImg8bit.png", "_gtFine_labelIds.png"
SPLITS: dict[str, dict[str, int]] = {
    "train": {
        **{"aachen": 174, "bochum": 96, "bremen": 316, "cologne": 154, "darmstadt": 85, "dusseldorf": 221},
        **{"erfurt": 109, "hamburg": 248, "hanover": 196, "jena": 119, "krefeld": 99, "monchengladbach": 94},
        **{"strasbourg": 365, "stuttgart": 196, "tubingen": 144, "ulm": 95, "weimar": 142, "zurich": 122},
    },
    "val": {"frankfurt": 267, "lindau": 59, "munster": 174},
}
"""Labelled frames by split and city: 2975 and 500."""

_STEM = re.compile(r"(?P<recording>.+_\d{6})_(?P<number>\d{6})")


class CityscapesSeq(NumberedVideo):
    """The snippets of one split.

    Args:
        root: folder that holds `leftImg8bit_sequence` and, where labels are wanted, `gtFine`.
        split: ``train`` or ``val``.
        classes: whose classes the labels are given in: ``viper`` (15), ``synthia`` (12) or ``cityscapes`` (19).
        size: (height, width) that pictures (bicubic, as the protocol has it) and labels (nearest) are brought to;
            2048x1024 as stored where None.
        context: see :class:`stpl.data.numbered_frames.NumberedVideo`.
        flow: folder of stored flow.

    Raises UserError for an unknown split or class list, and for folders without frames.
    """

    fps = 17.0

    def __init__(
        self,
        root: Path,
        split: str = "val",
        classes: str = "cityscapes",
        *,
        size: tuple[int, int] | None = None,
        context: int | None = None,
        flow: Path | None = None,
    ) -> None:
        if split not in SPLITS:
            raise unknown_name("split of cityscapes-seq", split, SPLITS)
        if classes not in CITYSCAPES:
            raise unknown_name("class list of cityscapes-seq", classes, CITYSCAPES)
        self.root = root.absolute()
        self.split = split
        self.published = SPLITS[split]
        self._size = size
        listing = list_frames(self.root, split)
        super().__init__(f"cityscapes-seq-{split}", listing, CITYSCAPES[classes], context=context, flow=flow)

    def read_image(self, frame: NumberedFrame) -> Image:
        return resized(read_frame(frame.image), self._size)

    def read_label(self, frame: NumberedFrame, label: Path) -> LabelMap:
        stored = read_ids(label)
        require_same_size(label, stored.shape, picture_size(frame.image))
        return self.training_ids[resized(stored, self._size, PIL.Image.Resampling.NEAREST)]

    def part(self, frame: NumberedFrame) -> str:
        return frame.image.parent.name

    def image_name(self, recording: str, number: int) -> str:
        return f"{recording}_{number:06d}{IMAGE_END}"

    def flow_name(self, frame: NumberedFrame) -> str:
        return cityscapes_flow_name(frame.recording, frame.number)


def list_frames(root: Path, split: str) -> Listing:
    """The pictures of a split and their labels. UserError where there are no pictures."""
    images = _by_number(root / IMAGES / split, IMAGE_END)
    if not images:
        raise UserError(f"no frames in {root / IMAGES / split}: expected <city>/*{IMAGE_END}")
    labels = root / LABELS / split
    return Listing.joined(images, _by_number(labels, LABEL_END) if labels.is_dir() else {})


def _by_number(folder: Path, end: str) -> dict[tuple[str, int], Path]:
    found = {}
    for city in entries(folder):
        for file in entries(city) if city.is_dir() else ():
            if file.name.endswith(end) and (match := _STEM.fullmatch(file.name.removesuffix(end))) is not None:
                found[match["recording"], int(match["number"])] = file
    return found
