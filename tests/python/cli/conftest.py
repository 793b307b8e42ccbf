"""The commands, run in this process, and a small run of them that the tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stpl.cli.main import run
from stpl_rt.video import VideoWriter

SIZE = "size=48x64"
DAY = f"synthstreet:?domain=day&seed=1&sequences=1&frames=4&{SIZE}"
DUSK = f"synthstreet:?domain=dusk&seed=2&sequences=1&frames=8&{SIZE}"
SMALL = ["input={height: 48, width: 64}", "crop=[32, 48]", "batch_size=2"]


@dataclass(frozen=True)
class Outcome:
    """Exit status and what was printed."""

    status: int
    out: str
    err: str

    @property
    def mistake(self) -> str:
        """The one line that a user's mistake gets; fails where it is anything else."""
        assert self.status == 2, f"status {self.status}: {self.err}"
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0]


Command = Callable[..., Outcome]


@pytest.fixture
def stpl_adapt(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Command:
    """Runs `stpl-adapt` with the given arguments; what it caches is not left with the user."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))

    def command(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        status = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return command


@dataclass(frozen=True)
class Runs:
    """Folders of a source model, its adaptation, the bundle made of it, and a short video file."""

    source: Path
    adapted: Path
    bundle: Path
    video: Path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Trains for two steps, adapts for two, exports."""
    root = tmp_path_factory.mktemp("runs")
    made = Runs(root / "source", root / "adapted", root / "dusk.bundle", root / "drive.mp4")
    assert run(["source", "--data", DAY, "--out", str(made.source), "--steps", "2", *SMALL]) == 0
    adapt = ["adapt", "--model", str(made.source), "--target", DUSK, "--out", str(made.adapted), "--steps", "2"]
    assert run([*adapt, "batch_size=2", "calibration.frames=2", "guard.mode=off"]) == 0
    assert (
        run(["export", "--model", str(made.adapted), "--out", str(made.bundle), "--data", DUSK, "--frames", "2"]) == 0
    )
    write_video(made.video, 12)
    return made


def write_video(path: Path, frames: int, height: int = 60, width: int = 90) -> None:
    """A pattern that moves two pixels a frame."""
    rng = np.random.default_rng(4)
    world = np.kron(rng.integers(0, 256, (height // 10, width // 5, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    with VideoWriter(path, fps=10) as writer:
        for index in range(frames):
            writer.write(np.ascontiguousarray(world[:, 2 * index : 2 * index + width]))


def write_folder(root: Path, sequences: dict[str, int], height: int = 30, width: int = 40) -> Path:
    """Frames as PNG files, named f0.png, f1.png and on."""
    rng = np.random.default_rng(6)
    for name, count in sequences.items():
        (root / name / "frames").mkdir(parents=True)
        for index in range(count):
            picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            PIL.Image.fromarray(picture).save(root / name / "frames" / f"f{index}.png")
    return root
