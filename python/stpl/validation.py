"""YAML files checked against a pydantic model; whatever is wrong becomes one line for the user."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from stpl.errors import UserError, nearest

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]  # keys and indices from the root to a field


class _Loader(yaml.SafeLoader):
    """YAML 1.2: ``true`` and ``false`` are the booleans; ``off``, ``on``, ``yes`` and ``no`` are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def load_yaml(text: str) -> Any:
    """The value that a YAML text holds. Raises yaml.YAMLError."""
    return yaml.load(text, _Loader)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty for an empty file. Raises UserError where there is none, naming the file."""
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is not None and not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, found {_shown(content)}")
    return content or {}


def validate(content: Mapping[str, Any], model: type[Model], where: str) -> Model:
    """`content` as a `model`. Raises UserError that opens with `where` and names the first faulty field."""
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        raise UserError(f"{where}: {describe(error, model)}") from error


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault in one line, and how many more there are. An unknown key is named with the nearest right one."""
    faults = error.errors(include_url=False)
    # An unknown key often is a misspelt required one: it explains the missing one, not the other way round.
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    location = first["loc"]
    field = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        text = f"unknown key '{field}'" + _right_keys(location, _model_at(model, location[:-1]))
    elif first["type"] == "missing":
        text = f"expected key '{field}', not found"
    elif first["type"] == "model_type":
        text = f"{field}: expected a mapping of keys to values, found {_shown(first['input'])}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        text = f"{field}: {message}; found {_shown(first['input'])}" if field else message
    return text + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def _right_keys(location: Location, model: type[BaseModel] | None) -> str:
    if model is None:
        return ""
    prefix = "".join(f"{part}." for part in location[:-1])
    known = list(model.model_fields)
    close = nearest(str(location[-1]), known)
    hint = f": did you mean '{prefix}{close}'?" if close is not None else "."
    return f"{hint} Expected one of: {', '.join(known)}"


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The model that holds the keys at `location`, walking through lists, mappings and optional fields."""
    found: type[BaseModel] | None = model
    for part in location:
        if found is not None and part in found.model_fields:
            found = _inner_model(found.model_fields[str(part)].annotation)
        # else: an index of a list or a key of a mapping, already looked through by _inner_model
    return found


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_inner_model(argument) for argument in typing.get_args(annotation))
    return next((model for model in inner if model is not None), None)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
