"""The classes of a data set: names and colours, in the order of the training ids."""

from __future__ import annotations

from dataclasses import dataclass

Color = tuple[int, int, int]

IGNORE_ID = 255
"""The training id of unlabelled pixels. Every data set's own "void" id is mapped to it."""

MAX_CLASSES = 255
"""Training ids are 0 .. 254, so that a label fits into a uint8 beside IGNORE_ID."""


@dataclass(frozen=True)
class ClassSet:
    """Names and RGB colours (0-255) of the classes; the training id is the position.

    Raises ValueError for no or more than 255 classes, a name given twice, or a malformed colour.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise ValueError(f"expected 1 to {MAX_CLASSES} classes, found {len(self.names)}")
        if len(self.colors) != len(self.names):
            raise ValueError(f"expected one colour for each of {len(self.names)} classes, found {len(self.colors)}")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"expected every class name once, found more than once: {', '.join(twice)}")
        for name, color in zip(self.names, self.colors, strict=True):
            if len(color) != 3 or not all(0 <= part <= 255 for part in color):
                raise ValueError(f"expected the colour of '{name}' as three values 0-255, found {list(color)}")

    def __len__(self) -> int:
        return len(self.names)
