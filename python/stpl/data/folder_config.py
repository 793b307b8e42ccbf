"""`dataset.yaml`: what the labels in a folder of frames mean."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stpl.data.classes import IGNORE_ID, MAX_CLASSES, ClassSet

ByteValue = Annotated[int, Field(ge=0, le=255, strict=True)]


class ClassEntry(BaseModel):
    """One class: its id in the label files, its name, its RGB colour."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: ByteValue
    name: Annotated[str, Field(min_length=1)]
    color: tuple[ByteValue, ByteValue, ByteValue]


class SequenceEntry(BaseModel):
    """What is known of one sequence; everything is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fps: Annotated[float, Field(gt=0)] | None = None
    domain: str | None = None
    frames: Annotated[int, Field(ge=0)] | None = None
    labelled: Annotated[int, Field(ge=0)] | None = None


class FolderConfig(BaseModel):
    """The whole file. The order of `classes` gives the training ids."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    ignore_index: ByteValue = IGNORE_ID
    classes: Annotated[list[ClassEntry], Field(min_length=1, max_length=MAX_CLASSES)]
    fps: Annotated[float, Field(gt=0)] | None = None
    sequences: dict[str, SequenceEntry] = {}

    @field_validator("sequences", mode="before")
    @classmethod
    def _empty_entries(cls, value: Any) -> Any:
        """`day_1:` with nothing after it is how YAML writes an empty entry."""
        if not isinstance(value, dict):
            return value
        return {str(name): {} if entry is None else entry for name, entry in value.items()}

    @model_validator(mode="after")
    def _ids_are_distinct(self) -> FolderConfig:
        ids = [entry.id for entry in self.classes]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"classes: expected every id once, found more than once: {twice}")
        if self.ignore_index in ids:
            raise ValueError(f"ignore_index: expected an id that is no class's, found {self.ignore_index}")
        self.class_set()  # names and colours are checked there
        return self

    def class_set(self) -> ClassSet:
        """The classes in the order of the training ids."""
        return ClassSet(tuple(entry.name for entry in self.classes), tuple(entry.color for entry in self.classes))

    def training_ids(self) -> NDArray[np.int16]:
        """Table of 256: the training id of each id in the files, IGNORE_ID for `ignore_index`, -1 for unknown ids."""
        table = np.full(256, -1, dtype=np.int16)
        for training_id, entry in enumerate(self.classes):
            table[entry.id] = training_id
        table[self.ignore_index] = IGNORE_ID
        return table

    def expected_ids(self) -> str:
        """The ids that may occur in a label file, for messages: "0-10 and 11 (ignore)"."""
        ids = sorted(entry.id for entry in self.classes)
        in_one_piece = len(ids) > 2 and ids == list(range(ids[0], ids[-1] + 1))
        shown = f"{ids[0]}-{ids[-1]}" if in_one_piece else ", ".join(str(i) for i in ids)
        return f"{shown} and {self.ignore_index} (ignore)"

    def fps_of(self, sequence: str) -> float | None:
        """Frames a second of one sequence: its own, or else that of the whole set."""
        entry = self.sequences.get(sequence)
        return entry.fps if entry is not None and entry.fps is not None else self.fps
