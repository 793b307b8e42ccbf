"""Small data roots laid out like the benchmarks', with the same kinds of files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

CITYSCAPES_SIZE, VIPER_SIZE, SYNTHIA_SIZE = (64, 128), (72, 128), (76, 128)


def write_png16(path: Path, pixels: NDArray[np.uint16]) -> None:
    """A PNG of 16 bits a channel, (H, W, 3): what SYNTHIA's labels are, and what Pillow cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """A JPEG or PNG by its name; grey for (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def write_flow(path: Path, dx: float, dy: float, size: tuple[int, int]) -> None:
    """Constant flow in pixels of its own grid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.tile(np.array([10 * dx, 10 * dy], np.int16), (*size, 1)))


def street(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Blocks of colours that move with the number."""
    world = np.random.default_rng(5).integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 64, 3))
    return np.kron(world, np.ones((8, 8, 1)))[: size[0], number % 256 : number % 256 + size[1]].astype(np.uint8)


def ids_of(number: int, size: tuple[int, int], ids: Iterable[int]) -> NDArray[np.uint8]:
    """Blocks of the given ids."""
    grid = (size[0] // 8 + 1, size[1] // 8 + 1)
    chosen = np.random.default_rng(number).choice(np.array(list(ids)), grid)
    return np.kron(chosen, np.ones((8, 8)))[: size[0], : size[1]].astype(np.uint8)


class Trees:
    """Writes data roots under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def cityscapes(self, split: str, labelled: dict[str, list[int]], before: int = 2, after: int = 1) -> Path:
        """Snippets around labelled frames, `{"frankfurt_000000": [294]}`, each with frames before and after."""
        root = self.root / "Cityscapes"
        for recording, numbers in labelled.items():
            city = recording.partition("_")[0]
            for number in numbers:
                for n in range(number - before, number + after + 1):
                    image = root / "leftImg8bit_sequence" / split / city / f"{recording}_{n:06d}_leftImg8bit.png"
                    write_picture(image, street(n, CITYSCAPES_SIZE))
                label = root / "gtFine" / split / city / f"{recording}_{number:06d}_gtFine_labelIds.png"
                write_picture(label, ids_of(number, CITYSCAPES_SIZE, range(34)))
        return root

    def viper(self, images: dict[str, list[int]], labels: dict[str, list[int]]) -> Path:
        """Pictures and labels by sequence, `{"001": [9, 10]}`."""
        root = self.root / "Viper"
        for sequence, numbers in images.items():
            for n in numbers:
                write_picture(root / "train/img" / sequence / f"{sequence}_{n:05d}.jpg", street(n, VIPER_SIZE))
        for sequence, numbers in labels.items():
            for n in numbers:
                path = root / "train/cls" / sequence / f"{sequence}_{n:05d}.png"
                write_picture(path, ids_of(n, VIPER_SIZE, range(32)))
        return root

    def synthia(self, numbers: Iterable[int]) -> Path:
        """Frames and labels of these numbers; the second channel holds instances, as in the real ones."""
        root = self.root / "SynthiaSeq"
        for n in numbers:
            write_picture(root / "SEQS-04-DAWN" / "rgb" / f"{n:06d}.png", street(n, SYNTHIA_SIZE))
            label = np.zeros((*SYNTHIA_SIZE, 3), np.uint16)
            label[..., 0] = ids_of(n, SYNTHIA_SIZE, range(16))
            label[..., 1] = 700 + n
            write_png16(root / "SEQS-04-DAWN" / "label" / f"{n:06d}.png", label)
        return root


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    """Writes data roots under the test's own folder."""
    return Trees(tmp_path)
