"""The README's three ways in are run as they are printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stpl_rt
from stpl.data.specs import open_dataset
from stpl.export.bundle import export_bundle
from stpl.train.checkpoint import load_checkpoint
from stpl_rt.video import VideoWriter

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "cmake"
FRAMES = 4


def block(language: str, containing: str) -> str:
    """The README's one code block of a language that contains a text."""
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (text,) = [b for b in found if containing in b]
    return str(text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's code names: street.bundle, drive.mp4, models/street-day."""
    folder = tmp_path_factory.mktemp("readme")
    video = open_dataset(f"synthstreet:?domain=dusk&seed=7&sequences=1&frames={FRAMES}&size=240x320")
    frames = [video.frame(i) for i in range(FRAMES)]
    with VideoWriter(folder / "drive.mp4", fps=15) as writer:
        for frame in frames:
            writer.write(frame)
    shutil.copytree(ROOT / "models" / "street-day", folder / "models" / "street-day")
    export_bundle(load_checkpoint(folder / "models" / "street-day"), folder / "street.bundle", frames)
    return folder


def test_python_code_runs(place: Path) -> None:
    code = block("python", "Segmenter")
    run = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == FRAMES
    assert lines[0].startswith("(240, 320) True")
    assert " False " in lines[1]


def test_cpp_code_compiles_and_runs(place: Path) -> None:
    if not (BUILD / "libstpl_rt.so").is_file():
        pytest.skip("libstpl_rt is not built here: make test builds it")
    source, program = place / "main.cpp", place / "main"
    source.write_text(block("cpp", "Segmenter"), encoding="utf-8")
    libraries = [f"-L{BUILD}", "-lstpl_rt", f"-Wl,-rpath,{BUILD}", f"-Wl,-rpath-link,{openvino_libraries()}"]
    compiler = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"]
    subprocess.run([*compiler, str(source), "-I", str(ROOT / "include"), "-o", str(program), *libraries], check=True)
    run = subprocess.run([str(program)], cwd=place, capture_output=True, text=True, check=True)
    assert run.stdout == "640x480 key: 1\n"


def test_commands_run(place: Path) -> None:
    for line in block("bash", "stpl-adapt segment").splitlines():
        arguments = line.split()
        assert arguments[0] == "stpl-adapt"
        if arguments[1] == "adapt":
            arguments.append("steps=1")  # the rest of the training adds time, not another path
        if arguments[1] == "export":
            shutil.rmtree(place / "street.bundle")
        program = [sys.executable, "-m", "stpl.cli.main", *arguments[1:]]
        run = subprocess.run(program, cwd=place, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
    assert stpl_rt.Bundle.open(place / "street.bundle").provenance
    assert (place / "overlay.mp4").stat().st_size > 1000
    assert (place / "runs" / "drive" / "report.html").is_file()


def openvino_libraries() -> Path:
    import openvino

    return Path(openvino.__file__).parent / "libs"
