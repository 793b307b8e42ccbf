"""Configuration: frozen typed trees, filled from YAML and ``key=value`` overrides; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field

from stpl.errors import UserError
from stpl.validation import load_yaml, read_mapping, validate

C = TypeVar("C", bound="Config")
Gamma = Annotated[float, Field(gt=0, le=10)]
"""Exponent of a tone curve, ``(v / 255) ^ gamma``."""


class Config(BaseModel):
    """Base of every configuration class: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def load_config(cls: type[C], file: Path | None = None, overrides: Sequence[str] = ()) -> C:
    """Builds ``cls`` from its defaults, a YAML file and ``key=value`` overrides, the later ones winning.

    Args:
        file: a YAML mapping; nested keys as nested mappings.
        overrides: such as ``"steps=400"`` or ``"contrast.temperature=0.1"``; values are read as YAML.

    Raises:
        UserError: an unreadable file, a key that does not exist (with the nearest one that does), or a value of
            the wrong type or range.
    """
    tree: dict[str, Any] = read_mapping(file) if file is not None else {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise UserError(f"config: expected key=value; found {override!r}")
        _insert(tree, key.split("."), _read_value(value, override), override)
    return build_config(cls, tree, str(file) if file is not None else "config")


def build_config(cls: type[C], tree: Mapping[str, Any], where: str) -> C:
    """Validates ``tree`` as ``cls``; ``where`` names the origin in error messages."""
    return validate(tree, cls, where)


def dump_yaml(config: Config) -> str:
    """The whole tree as YAML, defaults included."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return text


def _read_value(text: str, override: str) -> Any:
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        raise UserError(f"config: expected a value that can be read as YAML; found {override!r}") from None


def _insert(tree: dict[str, Any], path: list[str], value: Any, override: str) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise UserError(f"config: {override!r}: {part!r} holds a value, not further keys")
    tree[path[-1]] = value
