"""SYNTHIA-Seq: `SEQS-04-DAWN/rgb/FFFFFF.png`, labels in `SEQS-04-DAWN/label/FFFFFF.png`.

Source: Ros et al., "The SYNTHIA Dataset", CVPR 2016, sequence 04 at dawn; list and size are those of DA-VSN and TPS.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import PIL.Image

from stpl.data.benchmark_classes import SYNTHIA
from stpl.data.dataset import Image, LabelMap
from stpl.data.flow_files import synthia_flow_name
from stpl.data.label_png import read_first_channel
from stpl.data.numbered_frames import Listing, NumberedFrame, NumberedVideo, entries, require_same_size
from stpl.data.picture_file import picture_size, read_frame, resized
from stpl.errors import UserError

SEQUENCE = "SEQS-04-DAWN"
SIZE = (760, 1280)
ROWS_DROPPED = 120
"""At the bottom, after resizing: what is left is 1280x640."""
LISTED = range(1, 850)

_STEM = re.compile(r"\d{6}")


class SynthiaSeq(NumberedVideo):
    """Sequence 04 at dawn at 1280x640; labelled are frames 1 to 849.

    Args:
        root: folder that holds `SEQS-04-DAWN`.
        context: see :class:`stpl.data.numbered_frames.NumberedVideo`.
        flow: folder of stored flow.

    Raises UserError for folders without frames.
    """

    published = {SEQUENCE: len(LISTED)}  # noqa: RUF012 (read only)

    def __init__(self, root: Path, *, context: int | None = None, flow: Path | None = None) -> None:
        self.root = root.absolute()
        super().__init__("synthia-seq", list_frames(self.root), SYNTHIA, context=context, flow=flow)

    def read_image(self, frame: NumberedFrame) -> Image:
        return resized(read_frame(frame.image), SIZE)[:-ROWS_DROPPED]

    def read_label(self, frame: NumberedFrame, label: Path) -> LabelMap:
        stored = read_first_channel(label)
        require_same_size(label, stored.shape, picture_size(frame.image))
        ids = np.minimum(stored, 255).astype(np.uint8)  # 255 and more stand for no class
        whole = resized(ids, SIZE, PIL.Image.Resampling.NEAREST)
        return self.training_ids[whole[:-ROWS_DROPPED]]

    def aspect(self, frame: NumberedFrame) -> float:
        return SIZE[1] / (SIZE[0] - ROWS_DROPPED)

    def image_name(self, recording: str, number: int) -> str:
        return f"{number:06d}.png"

    def flow_name(self, frame: NumberedFrame) -> str:
        return synthia_flow_name(frame.number)


def list_frames(root: Path) -> Listing:
    """The sequence's pictures and the labels of the list. UserError where there are no pictures."""
    images = _by_number(root / SEQUENCE / "rgb")
    if not images:
        raise UserError(f"no frames in {root / SEQUENCE / 'rgb'}: expected FFFFFF.png")
    folder = root / SEQUENCE / "label"
    labels = _by_number(folder) if folder.is_dir() else {}
    return Listing.joined(images, {key: label for key, label in labels.items() if key[1] in LISTED})


def _by_number(folder: Path) -> dict[tuple[str, int], Path]:
    files = (file for file in entries(folder) if file.suffix == ".png" and _STEM.fullmatch(file.stem))
    return {(SEQUENCE, int(file.stem)): file for file in files}
