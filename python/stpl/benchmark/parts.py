"""Parts of a benchmark: each knows what it is made of, so that the same command never makes one twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stpl.errors import UserError
from stpl.train.run import RESUME_FILE, first_difference, run_folder

PART_FILE = "part.json"


class Part:
    """A folder that is made of what ``key`` says, once.

    Args:
        folder: of the part.
        key: settings and data that it depends on, for JSON.
        overwrite: make it again where it was made of something else.

    Raises:
        UserError: it was made, or begun, with another key and ``overwrite`` is not given.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        self._key = json.loads(json.dumps(key))
        begun = _read(folder / PART_FILE)
        difference = None if begun is None else first_difference(begun["key"], self._key)
        if difference is not None and not overwrite:
            name, before, now = difference
            raise UserError(
                f"{folder}: expected what it was made with, {name} = {before}; found {name} = {now}: make it again "
                "with --overwrite, or choose another --out"
            )
        self._same = begun is not None and difference is None
        self.finished = self._same and bool(begun and begun["finished"])

    @contextmanager
    def making(self) -> Iterator[bool]:
        """While the part is made; gives whether a run that was interrupted goes on. At its end the part is finished."""
        resume = self._same and (self.folder / RESUME_FILE).is_file()
        with run_folder(self.folder, overwrite=not resume, resume=resume):
            write_json(self.folder / PART_FILE, {"finished": False, "key": self._key})
            yield resume
            write_json(self.folder / PART_FILE, {"finished": True, "key": self._key})
        self.finished = self._same = True


def write_json(path: Path, content: Any) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _read(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {"finished": bool(content["finished"]), "key": content["key"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: expected what a benchmark wrote there; it cannot be read ({error})") from None
