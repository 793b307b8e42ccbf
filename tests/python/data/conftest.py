"""Videos and folders to read, written on the spot. A frame carries its own number in its picture."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

_BITS = 8
_SIDE = 16


def numbered_frame(number: int) -> np.ndarray:
    """(32, 128, 3): `number` in binary as black and white squares, which survive compression, over noise."""
    picture = np.zeros((2 * _SIDE, _BITS * _SIDE, 3), np.uint8)
    for bit in range(_BITS):
        picture[:_SIDE, bit * _SIDE : (bit + 1) * _SIDE] = 255 if number >> bit & 1 else 0
    picture[_SIDE:] = np.random.default_rng(number).integers(0, 256, (_SIDE, _BITS * _SIDE, 1))
    return picture


def _number_in(picture: np.ndarray) -> int:
    """The number that `numbered_frame` wrote."""
    middles = picture[_SIDE // 2, _SIDE // 2 :: _SIDE].mean(axis=-1)
    return sum(int(value > 127) << bit for bit, value in enumerate(middles))


@pytest.fixture
def number_in() -> Callable[[np.ndarray], int]:
    """Function of a picture: the number that it carries."""
    return _number_in


VideoWriter = Callable[..., Path]


@pytest.fixture
def write_video(tmp_path: Path) -> VideoWriter:
    """Function that writes a video, as in `write_video("a.mp4", 40, codec=…, options=…)`, and returns its path."""

    def write(name, count, codec="libx264", options=None, times=None, container_options=None) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width, _ = numbered_frame(0).shape
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.codec_context.time_base = Fraction(1, 100 if times else 25)
            for number in range(count):
                frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
                frame.pts = times[number] if times else number
                frame.time_base = stream.codec_context.time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes sequences of so many frames, `{"day_1": 3, …}`, with three classes; returns the root."""

    def write(sequences: dict[str, int], labelled: bool = True) -> Path:
        root = tmp_path / "town"
        for name, count in sequences.items():
            (root / name / "frames").mkdir(parents=True)
            (root / name / "labels").mkdir()
            for number in range(1, count + 1):
                PIL.Image.fromarray(numbered_frame(number)).save(root / name / "frames" / f"{number}.png")
                if labelled:
                    write_label(root / name / "labels" / f"{number}.png", number)
        (root / "dataset.yaml").write_text(DATASET_YAML)
        return root

    return write


DATASET_YAML = """\
name: town
ignore_index: 9
classes:
  - {id: 7, name: road, color: [128, 64, 128]}
  - {id: 8, name: car, color: [0, 0, 142]}
  - {id: 3, name: sky, color: [70, 130, 180]}
sequences:
  day_1: {fps: 25, domain: day}
  dusk_1: {fps: 15}
"""


def write_label(path: Path, number: int, ids: tuple[int, ...] = (7, 8, 3, 9)) -> None:
    """Four vertical stripes of the ids, shifted by `number` pixels."""
    height, width, _ = numbered_frame(0).shape
    row = np.roll(np.repeat(np.array(ids, np.uint8), width // len(ids)), number)
    PIL.Image.fromarray(np.tile(row, (height, 1))).save(path)
