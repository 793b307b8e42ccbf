"""Data specs, the text form in which the user names a data set: `FORMAT:ROOT[?key=value&…]`, or a bare path."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote

from stpl.data.dataset import VideoDataset
from stpl.data.folder import LAYOUT, FolderDataset, has_frames
from stpl.data.picture_file import PICTURE_SUFFIXES
from stpl.errors import UserError, unknown_name

Query = dict[str, str]


def open_dataset(spec: str, *, need_labels: bool = False) -> VideoDataset:
    """Opens the data set that `spec` names.

    Args:
        spec: `folder:ROOT[?sequences=glob,glob…]`, `synthstreet:?domain=…&seed=…`, `cityscapes-seq:ROOT[?split=…]`,
            `viper:ROOT`, `synthia-seq:ROOT`, or a path to a video file, a folder of frames or a folder of videos.
            `%XX` in values stands for the character of that code.
        need_labels: Refuse data without any label.

    Raises UserError for an unknown format or key (naming the nearest right one), a missing path, and unusable data.
    """
    dataset = _open(spec)
    if need_labels and (dataset.classes is None or not dataset.labelled()):
        raise UserError(f"{spec}: expected labelled frames, found {len(dataset)} frames without labels")
    return dataset


def parse_spec(spec: str) -> tuple[str, str, Query] | None:
    """(format, root, options) of a spec that names a format; None for a bare path."""
    address, _, query_text = spec.partition("?")
    name, colon, root = address.partition(":")
    return (name, root, _parse_query(query_text, spec)) if colon and name in _FORMATS else None


def open_parsed(name: str, root: str, query: Query) -> VideoDataset:
    """Opens what :func:`parse_spec` gave."""
    return _FORMATS[name](root, query)


def _open(spec: str) -> VideoDataset:
    parsed = parse_spec(spec)
    if parsed is not None:
        return open_parsed(*parsed)
    address, question_mark, _ = spec.partition("?")
    name, colon, _ = address.partition(":")
    path = Path(spec).expanduser()
    if path.exists():  # before any other reading of it: a file may be named anything
        return _open_path(path)
    if not colon and name in _FORMATS:
        raise UserError(f"cannot open '{spec}': expected '{name}:' before what follows, as in {_EXAMPLES[name]}")
    if colon and re.fullmatch(r"[A-Za-z][\w+.-]*", name):
        raise unknown_name("data format", name, _FORMATS)
    if question_mark and Path(address).expanduser().exists():
        raise UserError(f"cannot open '{spec}': a bare path takes no options; write 'folder:{spec}'")
    raise UserError(f"cannot open '{spec}': no such file or folder (formats: {', '.join(_FORMATS)})")


def _open_path(path: Path) -> VideoDataset:
    from stpl.data.video_file import VideoFileDataset  # PyAV only where it is needed

    if not path.is_dir():
        if path.suffix.lower() in PICTURE_SUFFIXES:
            raise UserError(f"expected a video or a folder, found a single picture: {path}")
        return VideoFileDataset([path])
    with_frames = has_frames(path)
    videos = _videos_in(path)
    if videos and with_frames:
        raise UserError(f"expected frames or videos in {path}, found both: name one of the folders or videos in it")
    if not videos and not with_frames:
        raise UserError(f"found no frames and no videos in {path}: expected {LAYOUT}, or video files")
    return VideoFileDataset(videos, name=path.name) if videos else FolderDataset(path)


def _videos_in(path: Path) -> list[Path]:
    from stpl.data.video_file import videos_in

    return videos_in(path)


def _parse_query(text: str, spec: str) -> Query:
    query: Query = {}
    for item in filter(None, text.split("&")):
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UserError(f"{spec}: expected key=value after '?', found '{item}'")
        if key in query:
            raise UserError(f"{spec}: expected every key once, found '{key}' twice")
        query[key] = unquote(value)
    return query


def _open_folder(root: str, query: Query) -> VideoDataset:
    _refuse_unknown("folder", query, ("sequences",))
    if not root:
        raise UserError(f"expected a folder after 'folder:', found nothing; as in {_EXAMPLES['folder']}")
    path = Path(root).expanduser()
    if path.is_dir() and not has_frames(path) and _videos_in(path):
        raise UserError(f"expected {LAYOUT} under {root}, found video files: name the folder without 'folder:'")
    patterns = [pattern for pattern in query.get("sequences", "").split(",") if pattern]
    return FolderDataset(path, patterns)


def _open_synthstreet(root: str, query: Query) -> VideoDataset:
    if root:
        raise UserError(f"expected 'synthstreet:?key=value', found '{root}': as in {_EXAMPLES['synthstreet']}")
    from stpl.data.synthstreet import SynthStreet  # the generator only where it is used

    return SynthStreet.from_query(query)


def _open_cityscapes_seq(root: str, query: Query) -> VideoDataset:
    from stpl.data.cityscapes_seq import CityscapesSeq

    _refuse_unknown("cityscapes-seq", query, ("split", "classes", "size", "context", "flow"))
    return CityscapesSeq(
        _root("cityscapes-seq", root),
        query.get("split", "val"),
        query.get("classes", "cityscapes"),
        size=_size(query),
        context=_context(query),
        flow=_folder(query, "flow"),
    )


def _open_viper(root: str, query: Query) -> VideoDataset:
    from stpl.data.viper import Viper

    _refuse_unknown("viper", query, ("context", "flow"))
    return Viper(_root("viper", root), context=_context(query), flow=_folder(query, "flow"))


def _open_synthia_seq(root: str, query: Query) -> VideoDataset:
    from stpl.data.synthia_seq import SynthiaSeq

    _refuse_unknown("synthia-seq", query, ("context", "flow"))
    return SynthiaSeq(_root("synthia-seq", root), context=_context(query), flow=_folder(query, "flow"))


def _refuse_unknown(name: str, query: Query, known: Sequence[str]) -> None:
    for key in query:
        if key not in known:
            raise unknown_name(f"key of format {name}", key, known)


def _root(name: str, root: str) -> Path:
    if not root:
        raise UserError(f"expected a folder after '{name}:', found nothing; as in {_EXAMPLES[name]}")
    path = Path(root).expanduser()
    if not path.is_dir():
        raise UserError(
            f"expected the folder of the data set at {root}, found {'a file' if path.exists() else 'nothing'}"
        )
    return path


def _folder(query: Query, key: str) -> Path | None:
    return Path(query[key]).expanduser() if key in query else None


def _context(query: Query) -> int | None:
    text = query.get("context")
    if text is not None and not (text.isdecimal() and int(text) >= 1):
        raise UserError(f"context: expected how many frames before each labelled one, 1 or more; found '{text}'")
    return None if text is None else int(text)


def _size(query: Query) -> tuple[int, int] | None:
    text = query.get("size")
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text) if text is not None else None
    if text is not None and match is None:
        raise UserError(f"size: expected HEIGHTxWIDTH, as in 512x1024; found '{text}'")
    return None if match is None else (int(match[1]), int(match[2]))


_FORMATS: dict[str, Callable[[str, Query], VideoDataset]] = {
    "folder": _open_folder,
    "synthstreet": _open_synthstreet,
    "cityscapes-seq": _open_cityscapes_seq,
    "viper": _open_viper,
    "synthia-seq": _open_synthia_seq,
}
_EXAMPLES = {
    "folder": "folder:data/town?sequences=dusk_*",
    "synthstreet": "synthstreet:?domain=dusk&seed=1",
    "cityscapes-seq": "cityscapes-seq:data/Cityscapes?split=val&classes=viper",
    "viper": "viper:data/Viper?context=1",
    "synthia-seq": "synthia-seq:data/SynthiaSeq?context=1",
}
