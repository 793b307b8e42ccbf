"""Which class of a model is which class of a data set: what ``--classes`` says, and what follows from it.

The value is a comma-separated list, or a YAML file:

- a known set (``cityscapes-19``) names the model's own classes, for weights that do not;
- ``by-name`` matches the model's classes with the data's where their names are the same;
- ``MODEL=DATA`` says that the model's class MODEL is the data's class DATA; several may be the same one. The rest is
  matched by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stpl.config import Config
from stpl.data.benchmark_classes import CITYSCAPES, COLORS, SYNTHIA, VIPER
from stpl.data.classes import IGNORE_ID, ClassSet, Color
from stpl.errors import UserError, unknown_name
from stpl.validation import read_mapping, validate

CLASS_SETS = {
    "cityscapes-19": CITYSCAPES["cityscapes"].class_set(),
    "viper-15": VIPER.class_set(),
    "synthia-12": SYNTHIA.class_set(),
}
"""Class sets by name, in the order of the training ids that published weights were trained with."""

BY_NAME = "by-name"
OTHER = "(none of these)"
"""The name under which predictions of classes that the data does not have are counted: as wrong."""


@dataclass(frozen=True)
class ClassOption:
    """What the user says about classes.

    Attributes:
        names: the model's own classes; None where it knows them itself.
        pairs: data class by model class.
        by_name: match by name, too.
        ignored: the data's classes whose pixels are not counted.
        origin: for messages.
    """

    names: ClassSet | None = None
    pairs: Mapping[str, str] = field(default_factory=dict)
    by_name: bool = False
    ignored: tuple[str, ...] = ()
    origin: str = "--classes"

    @property
    def maps(self) -> bool:
        """Whether it says more than the model's own names."""
        return self.by_name or bool(self.pairs) or bool(self.ignored)


@dataclass(frozen=True)
class ClassMap:
    """The model's classes among those of the data.

    Attributes:
        model: what the model predicts.
        data: what the labels hold.
        targets: for each class of the model the id of the data's class, None where it has none.
        ignored: ids of the data's classes that are not counted.
    """

    model: ClassSet
    data: ClassSet
    targets: tuple[int | None, ...]
    ignored: frozenset[int] = frozenset()

    @property
    def unmatched_model(self) -> list[str]:
        """The model's classes that the data does not have."""
        return [name for name, target in zip(self.model.names, self.targets, strict=True) if target is None]

    @property
    def unmatched_data(self) -> list[str]:
        """The data's classes that the model does not know and that are counted all the same."""
        reached = {target for target in self.targets if target is not None} | self.ignored
        return [name for i, name in enumerate(self.data.names) if i not in reached]

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """For each of :attr:`merged`, the model's classes that are it."""
        reached = sorted({target for target in self.targets if target is not None})
        return tuple(tuple(i for i, target in enumerate(self.targets) if target == wanted) for wanted in reached)

    @property
    def merged(self) -> ClassSet:
        """The data's classes that the model knows, in the data's order."""
        reached = sorted({target for target in self.targets if target is not None})
        return ClassSet(tuple(self.data.names[i] for i in reached), tuple(self.data.colors[i] for i in reached))

    @property
    def scored(self) -> ClassSet:
        """The data's classes, and one more for predictions of none of them where there can be such."""
        if not self.unmatched_model:
            return self.data
        return ClassSet((*self.data.names, OTHER), (*self.data.colors, (0, 0, 0)))

    def of_predictions(self) -> NDArray[np.uint8]:
        """(256,) table from the model's ids to those of :attr:`scored`."""
        table = np.full(256, IGNORE_ID, np.uint8)
        table[: len(self.targets)] = [len(self.data) if target is None else target for target in self.targets]
        return table

    def of_labels(self) -> NDArray[np.uint8]:
        """(256,) table from the data's ids to themselves, IGNORE_ID for ignored ones."""
        table = np.arange(256, dtype=np.uint8)
        table[sorted(self.ignored)] = IGNORE_ID
        return table

    def report(self) -> list[str]:
        """What was merged and what found no partner, a line each, for people."""
        lines = []
        for name, group in zip(self.merged.names, self.groups, strict=True):
            if [self.model.names[i] for i in group] != [name]:
                lines.append(f"{name}: {' + '.join(self.model.names[i] for i in group)}")
        if self.unmatched_model:
            lines.append(f"not in the data: {', '.join(self.unmatched_model)}")
        if self.unmatched_data:
            lines.append(f"not known to the model: {', '.join(self.unmatched_data)}")
        if self.ignored:
            lines.append(f"not counted: {', '.join(self.data.names[i] for i in sorted(self.ignored))}")
        return lines


def match_classes(model: ClassSet, data: ClassSet | None, option: ClassOption) -> ClassMap:
    """The model's classes among the data's: pairs first, the rest by name.

    Args:
        data: None for video without classes: they are then the names that the pairs give, and the model's own for
            the classes that no pair mentions.

    Raises:
        UserError: a name that neither side has, or nothing in common.
    """
    strangers = [name for name in option.pairs if _find(name, model) is None]
    if strangers:
        raise unknown_name(f"class of the model ({option.origin})", strangers[0], model.names)
    if data is None:
        data = _renamed(model, option)
    wanted: dict[int, str] = {}
    for ours, theirs in option.pairs.items():
        index = _find(ours, model)
        assert index is not None
        wanted[index] = theirs
    targets: list[int | None] = []
    for i, name in enumerate(model.names):
        target = _find(wanted.get(i, name), data) if option.by_name or i in wanted else None
        if target is None and i in wanted:
            raise unknown_name(f"class of the data ({option.origin})", wanted[i], data.names)
        targets.append(target)
    if all(target is None for target in targets):
        raise UserError(
            f"{option.origin}: no class of the model is one of the data's: write MODEL=DATA pairs of "
            f"{', '.join(model.names)} and {', '.join(data.names)}"
        )
    ignored = set()
    for name in option.ignored:
        index = _find(name, data)
        if index is None:
            raise unknown_name(f"class of the data ({option.origin})", name, data.names)
        ignored.add(index)
    return ClassMap(model, data, tuple(targets), frozenset(ignored))


class ClassFile(Config):
    """The YAML file that ``--classes`` may name; every key is optional."""

    classes: str | list[str] | dict[str, tuple[int, int, int]] | None = None
    """The model's own classes in the order of its logits: a known set, names, or names with RGB colours."""
    map: dict[str, str] = Field(default_factory=dict)
    """Data class by model class."""
    ignore: list[str] = Field(default_factory=list)
    """Classes of the data whose pixels are not counted."""
    by_name: bool = True
    """Match what ``map`` does not mention by name."""


def read_classes(value: str) -> ClassOption:
    """What a value of ``--classes`` says.

    Raises:
        UserError: an unreadable file, an unknown set, or a class given twice.
    """
    if value.endswith((".yaml", ".yml")):
        path = Path(value).expanduser()
        content = validate(read_mapping(path), ClassFile, value)
        names = None if content.classes is None else _as_set(content.classes, value)
        return ClassOption(names, content.map, content.by_name, tuple(content.ignore), value)
    names, pairs, by_name = None, {}, False
    for item in (part.strip() for part in value.split(",")):
        ours, equals, theirs = (part.strip() for part in item.partition("="))
        if equals and ours and theirs:
            if ours in pairs:
                raise UserError(f"--classes: expected a class of the model once; found '{ours}' twice")
            pairs[ours] = theirs
        elif item == BY_NAME:
            by_name = True
        elif names is None and item in CLASS_SETS:
            names = CLASS_SETS[item]
        elif equals or item in CLASS_SETS:
            raise UserError(f"--classes: expected one set of classes and MODEL=DATA pairs; found '{item}'")
        else:
            raise unknown_name("set of classes", item, [*CLASS_SETS, BY_NAME, "MODEL=DATA", "FILE.yaml"])
    return ClassOption(names, pairs, by_name or bool(pairs))


def named_classes(names: Sequence[str]) -> ClassSet:
    """Classes of these names in Cityscapes' colours, and in others where Cityscapes has no such class."""
    free = (color for color in _palette() if color not in COLORS.values())
    return ClassSet(tuple(names), tuple(COLORS[name] if name in COLORS else next(free) for name in names))


def _renamed(model: ClassSet, option: ClassOption) -> ClassSet:
    """The model's classes under the names that the pairs give, each name once, in the model's order."""
    named = {_key(ours): theirs for ours, theirs in option.pairs.items()}
    colors: dict[str, Color] = {}
    for name, color in zip(model.names, model.colors, strict=True):
        colors.setdefault(named.get(_key(name), name), color)
    return ClassSet(tuple(colors), tuple(colors.values()))


def _as_set(classes: str | list[str] | dict[str, tuple[int, int, int]], where: str) -> ClassSet:
    if isinstance(classes, str):
        if classes not in CLASS_SETS:
            raise unknown_name("set of classes", classes, CLASS_SETS)
        return CLASS_SETS[classes]
    try:
        return (
            named_classes(classes) if isinstance(classes, list) else ClassSet(tuple(classes), tuple(classes.values()))
        )
    except ValueError as error:
        raise UserError(f"{where}: classes: {error}") from None


def _find(name: str, classes: ClassSet) -> int | None:
    keys = [_key(known) for known in classes.names]
    return keys.index(_key(name)) if _key(name) in keys else None


def _key(name: str) -> str:
    """Names that differ by case, hyphens or underscores are the same: "Traffic_Light" and "traffic light"."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _palette() -> list[Color]:
    """Distinct colours: the colour map of PASCAL VOC (bits of the id spread over the three channels), without black."""
    colors: list[Color] = []
    for number in range(1, 256):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
        colors.append((channels[0], channels[1], channels[2]))
    return colors
