"""Labels and stored flow of a benchmark's data, told from others without reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from stpl.data.numbered_frames import NumberedVideo


def labels_digest(data: NumberedVideo, root: Path) -> str:
    """Of the label files in use, by name under ``root``, size and time of change."""
    labels = (data.numbered(index).label for index in data.labelled())
    return _digest((label for label in labels if label is not None), root)


def flow_digest(data: NumberedVideo, folder: Path | None) -> str | None:
    """Of the stored flow in use, alike; None where flow is computed.

    Files of other frames do not count: train and val splits may share a folder.
    """
    if folder is None:
        return None
    frames = (data.numbered(index) for index in range(len(data)) if data.previous(index) is not None)
    files = (folder / data.flow_name(frame) for frame in frames)
    return _digest((file for file in files if file.is_file()), folder)


def _digest(files: Iterable[Path], root: Path) -> str:
    known = sorted((str(file.relative_to(root)), file.stat()) for file in files)
    sha = hashlib.sha256()
    for name, status in known:
        sha.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return f"{len(known)} files, {sha.hexdigest()[:12]}"
