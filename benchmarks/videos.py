"""The videos of the benchmarks: what is adapted to, what is measured on, and which source model is adapted.

Development domains are generated and free to choose settings on. Test domains are generated too, but opened with the
configuration frozen; so is CamVid. Hostile videos are those that an adaptation must survive.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from code_digest import CodeIndex
from numpy.typing import NDArray

from stpl.data.dataset import FrameId, Image, LabelMap, VideoDataset
from stpl.data.in_memory import InMemory
from stpl.data.specs import open_dataset
from stpl.errors import UserError

View = Literal["whole", "road", "black", "eight"]

CAMVID = "{camvid}"
"""Stands for the folder of the CamVid clips, in the spec of a domain."""
CAMVID_DAY = f"folder:{CAMVID}?sequences=day_0006R0,day_0016E5,day_Seq05VD"
_STREET = "synthstreet:?domain={}&seed={}&sequences=4&frames=31&fps=3&size=240x320"


@dataclass(frozen=True)
class Domain:
    """Video to adapt to, unlabelled, and labelled video to measure on.

    Attributes:
        name: in tables and folders.
        source: the source model, a key of :data:`SOURCES`.
        spec: data spec of the video.
        view: what the adaptation sees of it; measured is always on the whole.
    """

    name: str
    source: str
    spec: str
    view: View = "whole"

    @property
    def on_camvid(self) -> bool:
        return CAMVID in self.spec


SOURCES = {"street-day": "models/street-day", "camvid-day": None}
"""Where the source models lie; None: trained on CamVid's day by models/camvid-day.yaml."""

DOMAINS = {
    domain.name: domain
    for domain in (
        Domain("dusk", "street-day", _STREET.format("dusk", 500)),
        Domain("night", "street-day", _STREET.format("night", 600)),
        Domain("rain", "street-day", _STREET.format("rain", 810)),
        Domain("snow", "street-day", _STREET.format("snow", 910)),
        Domain("camvid-dusk", "camvid-day", f"folder:{CAMVID}?sequences=dusk_0001TP"),
        Domain("source-domain", "street-day", _STREET.format("day", 700)),
        Domain("one-class", "street-day", _STREET.format("dusk", 500), "road"),
        Domain("black", "street-day", _STREET.format("dusk", 500), "black"),
        Domain("eight-frames", "street-day", _STREET.format("night", 600), "eight"),
    )
}
DEVELOPMENT = ("dusk", "night")
TEST = ("rain", "snow")
HOSTILE = ("source-domain", "one-class", "black", "eight-frames")


def open_video(domain: Domain, camvid: Path | None) -> tuple[VideoDataset, VideoDataset]:
    """What is adapted to and what is measured on; frames are kept in memory.

    Raises:
        UserError: CamVid is asked for and not at hand, or the data cannot be read.
    """
    measured = InMemory(open_dataset(_located(domain.spec, camvid)))
    return VIEWS[domain.view](measured), measured


def open_camvid_day(camvid: Path | None) -> VideoDataset:
    """The labelled video that the CamVid source model is trained on."""
    return InMemory(open_dataset(_located(CAMVID_DAY, camvid)))


def video_identity(domain: Domain, camvid: Path | None, code: CodeIndex) -> str:
    """Digest of the frames and labels: of their bytes, or, generated, of what generates them."""
    description: dict[str, Any] = {"spec": domain.spec, "view": domain.view}
    roots = [(VIEWS[domain.view].__module__, VIEWS[domain.view].__name__)]
    if domain.spec.startswith("synthstreet:"):
        package = "stpl.data.synthstreet.dataset"
        description["code"] = code.digest(code.reached([(package, "SynthStreet"), *roots]))
    else:
        description["bytes"] = content_digest(open_dataset(_located(domain.spec, camvid)))
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def content_digest(video: VideoDataset) -> str:
    """SHA-256 of every frame and label, as pixels."""
    sha = hashlib.sha256(repr(video.classes).encode())
    for index in range(len(video)):
        sha.update(repr(video.frame_id(index)).encode() + np.ascontiguousarray(video.frame(index)).tobytes())
        label = video.label(index)
        sha.update(b"-" if label is None else np.ascontiguousarray(label).tobytes())
    return sha.hexdigest()


def halves(video: VideoDataset) -> tuple[list[int], list[int]]:
    """The labelled frames' first and second half, in the order of the video."""
    labelled = video.labelled()
    middle = (len(labelled) + 1) // 2
    return labelled[:middle], labelled[middle:]


def as_dict(domain: Domain) -> dict[str, Any]:
    """For a job's file."""
    return asdict(domain)


class Part(VideoDataset):
    """Another video's frames, some of them, or changed, or labelled in part.

    Args:
        video: the whole.
        frames: how many of its first frames there are; all where None.
        labelled: the frames that keep their label; all where None.
    """

    def __init__(
        self, video: VideoDataset, name: str, *, frames: int | None = None, labelled: list[int] | None = None
    ) -> None:
        self.name = f"{video.name}, {name}"
        self.classes = video.classes
        self.sequences = video.sequences
        self.fps = video.fps
        self._video = video
        self._count = len(video) if frames is None else min(frames, len(video))
        self._labelled = set(video.labelled() if labelled is None else labelled)

    def __len__(self) -> int:
        return self._count

    def frame_id(self, index: int) -> FrameId:
        return self._video.frame_id(self._known(index))

    def frame(self, index: int) -> Image:
        return self._video.frame(self._known(index))

    def label(self, index: int) -> LabelMap | None:
        return self._video.label(self._known(index)) if index in self._labelled else None

    def labelled(self) -> list[int]:
        return sorted(index for index in self._labelled if index < self._count)

    def previous(self, index: int) -> int | None:
        return self._video.previous(self._known(index))

    def _known(self, index: int) -> int:
        if not 0 <= index < self._count:
            raise IndexError(f"expected a frame from 0 to {self._count - 1}, found {index}")
        return index


class Road(Part):
    """Of every frame the piece of road before the camera: one class and nothing else, but for the odd car."""

    ROWS = (0.8, 1.0)
    COLUMNS = (0.4, 0.6)

    def __init__(self, video: VideoDataset) -> None:
        super().__init__(video, "road alone")

    def frame(self, index: int) -> Image:
        return self._cut(super().frame(index))

    def label(self, index: int) -> LabelMap | None:
        label = super().label(index)
        return None if label is None else self._cut(label)

    def _cut(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = picture.shape[:2]
        (top, bottom), (left, right) = self.ROWS, self.COLUMNS
        return np.ascontiguousarray(
            picture[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
        )


class Black(Part):
    """Frames without any light."""

    def __init__(self, video: VideoDataset) -> None:
        super().__init__(video, "black")

    def frame(self, index: int) -> Image:
        return np.zeros_like(super().frame(index))


class EightFrames(Part):
    """The first eight frames, and no more."""

    def __init__(self, video: VideoDataset) -> None:
        super().__init__(video, "eight frames", frames=8)


def _whole(video: VideoDataset) -> VideoDataset:
    return video


VIEWS: dict[View, Any] = {"whole": _whole, "road": Road, "black": Black, "eight": EightFrames}


def _located(spec: str, camvid: Path | None) -> str:
    if CAMVID not in spec:
        return spec
    if camvid is None or not (camvid / "dataset.yaml").is_file():
        raise UserError("CamVid: expected the folder of its clips (--data, or STPL_CAMVID); found none")
    return spec.replace(CAMVID, str(camvid))
