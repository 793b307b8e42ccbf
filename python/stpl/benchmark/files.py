"""Labels and stored flow of a benchmark's data, told from others without reading them."""

from __future__ import annotations

from pathlib import Path

from stpl.data.dataset import files_digest
from stpl.data.numbered_frames import NumberedVideo


def labels_digest(data: NumberedVideo, root: Path) -> str:
    """Of the label files in use, by name under ``root``, size and time of change."""
    labels = (data.numbered(index).label for index in data.labelled())
    return files_digest((label for label in labels if label is not None), root)


def flow_digest(data: NumberedVideo, folder: Path | None) -> str | None:
    """Of the stored flow in use, alike; None where flow is computed.

    Files of other frames do not count: train and val splits may share a folder.
    """
    if folder is None:
        return None
    frames = (data.numbered(index) for index in range(len(data)) if data.previous(index) is not None)
    files = (folder / data.flow_name(frame) for frame in frames)
    return files_digest((file for file in files if file.is_file()), folder)
