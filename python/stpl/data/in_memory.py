"""A data set whose frames are decoded, or generated, once and then kept."""

from __future__ import annotations

from pathlib import Path

from stpl.data.dataset import Flow, FrameId, Image, LabelMap, VideoDataset


class InMemory(VideoDataset):
    """Keeps every frame and label asked for; for video that is short and looked at many times."""

    def __init__(self, dataset: VideoDataset) -> None:
        self.name = dataset.name
        self.classes = dataset.classes
        self.sequences = dataset.sequences
        self.fps = dataset.fps
        self._dataset = dataset
        self._frames: dict[int, Image] = {}
        self._labels: dict[int, LabelMap | None] = {}

    def __len__(self) -> int:
        return len(self._dataset)

    def frame_id(self, index: int) -> FrameId:
        return self._dataset.frame_id(index)

    def frame(self, index: int) -> Image:
        if index not in self._frames:
            self._frames[index] = self._dataset.frame(index)
        return self._frames[index]

    def label(self, index: int) -> LabelMap | None:
        if index not in self._labels:
            self._labels[index] = self._dataset.label(index)
        return self._labels[index]

    def labelled(self) -> list[int]:
        return self._dataset.labelled()

    def previous(self, index: int) -> int | None:
        return self._dataset.previous(index)

    def exact_flow(self, index: int) -> Flow | None:
        return self._dataset.exact_flow(index)

    def stored_flow(self, index: int) -> Flow | None:
        return self._dataset.stored_flow(index)

    def files(self, *, labels: bool = False, flow: bool = False) -> list[Path]:
        return self._dataset.files(labels=labels, flow=flow)
