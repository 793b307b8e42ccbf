"""docs/jetson.md: what of it can be tried without a Jetson, and that all the rest is marked."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from stpl.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "jetson.md").read_text(encoding="utf-8")
MARK = "*not run on a jetson*"
PROGRAM = ROOT / "build" / "cmake" / "stpl-segment"
BUNDLE = ROOT / "build" / "cmake" / "tests" / "cpp" / "bundles" / "half_pixel"
EXAMPLES = ROOT / "examples" / "jetson"
# Where NVIDIA's packages put the headers that examples/jetson/ includes.
VENDOR = {
    "vpi/Image.h": ("/opt/nvidia/vpi*/include",),
    "cudaEGL.h": ("/usr/local/cuda/include",),
    "nvbufsurface.h": ("/usr/src/jetson_multimedia_api/include", "/opt/nvidia/deepstream/deepstream*/sources/includes"),
}
COMPILER = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Werror", "-I", str(ROOT / "include"), "-I", str(EXAMPLES)]


def blocks() -> list[tuple[str, str, str]]:
    """The paragraph before each block of code, the block's language, the block."""
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        paragraph = PAGE[: match.start()].rstrip().rsplit("\n\n", 1)[-1]
        found.append((" ".join(paragraph.split()), match[1], match[2]))
    return found


def commands(program: str) -> list[list[str]]:
    """The page's calls of a program, as words, also those at the end of a pipe."""
    lines = [line for _, language, text in blocks() if language == "bash" for line in text.splitlines()]
    calls = [shlex.split(call) for line in lines for call in line.split(" | ")]
    return [words for words in calls if words and words[0] == program]


def cpp_blocks() -> list[str]:
    return [text for _, language, text in blocks() if language == "cpp"]


def test_all_that_is_not_tried_here_is_marked() -> None:
    tried = ("cmake ", "stpl-segment ", "stpl-adapt ")
    for paragraph, language, text in blocks():
        if language == "cpp":
            here = not any(f'"{header.name}"' in text for header in EXAMPLES.glob("*.h"))
        else:
            here = all(line.startswith(tried) for line in text.splitlines())
        assert here or MARK in paragraph.lower(), text
    assert "Nobody has run this page on a Jetson yet" in PAGE


# --- CMake ---


def declared_options() -> set[str]:
    texts = [ROOT / "CMakeLists.txt", *(ROOT / "cmake").glob("*.cmake")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in texts)
    names = re.findall(r"\b(?:option|set)\((\w+)[^)]*", text)
    return {name for name in names if re.search(rf"\b(?:option\({name}\b|set\({name}\b[^)]*CACHE)", text)}


def test_cmake_knows_the_options_and_the_build_takes_them(tmp_path: Path) -> None:
    (configure,) = [words for words in commands("cmake") if "-S" in words]
    options = dict(word[2:].split("=", 1) for word in configure if word.startswith("-D"))
    assert set(options) - {"CMAKE_BUILD_TYPE"} <= declared_options()
    assert options == {
        "CMAKE_BUILD_TYPE": "Release",
        "STPL_RT_OPENVINO": "OFF",
        "STPL_RT_CUDA": "ON",
        "STPL_RT_TENSORRT": "ON",
        "CMAKE_CUDA_ARCHITECTURES": "87",
    }
    # Without the two that need NVIDIA's files it configures here too, and nothing of it is OpenVINO's or Python's.
    places = {".": str(ROOT), "build/jetson": str(tmp_path)}
    nvidia = ("-DSTPL_RT_CUDA", "-DSTPL_RT_TENSORRT", "-DCMAKE_CUDA")
    words = [places.get(word, word) for word in configure if not word.startswith(nvidia)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not used by the project" not in done.stderr
    cache = (tmp_path / "CMakeCache.txt").read_text()
    assert "OpenVINO_DIR" not in cache
    assert "STPL_RT_PYTHON:BOOL=OFF" in cache


def test_the_architectures_are_those_that_nvcc_compiles_for() -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    listed = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=True).stdout.split()
    for row in re.findall(r"^\| JetPack 7.*\| ([\d, ]+) \|$", PAGE, re.MULTILINE):
        assert {f"sm_{number.strip()}" for number in row.split(",")} <= set(listed)


# --- the programs ---


@pytest.fixture(scope="module")
def program() -> Path:
    if not PROGRAM.is_file() or not (BUNDLE / "manifest.json").is_file():
        pytest.skip("stpl-segment and the test bundles are not built here: make test builds them")
    return PROGRAM


def test_stpl_segment_takes_the_commands(program: Path, tmp_path: Path) -> None:
    (tmp_path / "street.bundle").symlink_to(BUNDLE)
    frame = b"YUV4MPEG2 W96 H64 F30:1 C420\nFRAME\n" + bytes(96 * 64 * 3 // 2)
    for name in ("frame.y4m", "drive.y4m"):
        (tmp_path / name).write_bytes(frame)
    calls = commands("stpl-segment")
    assert len(calls) == 3
    for words in calls:
        there = subprocess.run([program, *words[1:]], cwd=tmp_path, input=frame, capture_output=True, check=False)
        # All is understood up to the device, which this build or machine lacks.
        assert there.returncode == 2
        assert re.search(rb"the only one of this build|NVIDIA GPU", there.stderr), there.stderr
        assert b"expected an option" not in there.stderr
        here = words[1:]
        at = here.index("--device")
        del here[at : at + 2]
        here = [word for word in here if word != "--build-engines"]
        here[here.index("--precision") + 1] = "f32"
        done = subprocess.run([program, *here], cwd=tmp_path, input=frame, capture_output=True, check=False)
        if b"built without OpenVINO" in done.stderr:
            pytest.skip("this build has no engine for the CPU")
        assert done.returncode == 0, done.stderr


def test_stpl_adapt_knows_the_flags(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (words,) = commands("stpl-adapt")
    monkeypatch.setenv("COLUMNS", "200")
    assert run([words[1], "--help"]) == 0
    known = set(re.findall(r"--[\w-]+", capfd.readouterr().out))
    flags = {word for word in words if word.startswith("--")}
    assert "--dla-core" in flags and flags <= known, flags - known


def test_messages_under_trouble_are_ours() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "cpp").rglob("*.cpp"))
    text = re.sub(r'"\s*\+?\s*"', "", " ".join(sources.split()))
    shown = re.findall(r"^\| `expected (\w+ \w+ \w+)", PAGE, re.MULTILINE)
    assert len(shown) == 3
    for words in shown:
        assert f"expected {words}" in text or f'"{words} ' in text, words


# --- the camera's pipe ---


def test_the_cameras_pipe_makes_a_video(program: Path, tmp_path: Path) -> None:
    launch = shutil.which("gst-launch-1.0")
    if launch is None:
        pytest.skip("gst-launch-1.0 is not installed")
    (line,) = [text for _, language, text in blocks() if language == "bash" and text.startswith("gst-launch")]
    for jetsons, ours in {
        # A source that, as the camera's driver, also prints.
        "nvarguscamerasrc": "videotestsrc num-buffers=3 ! identity silent=false dump=true",
        "(memory:NVMM)": "",
        "nvvidconv": "videoconvert ! videoscale",
        "stpl-segment": str(program),
        " --device cuda --precision f16": "",
        "1920": "192",
        "1080": "108",
        "1024": "96",
        "576": "64",
    }.items():
        assert jetsons in line
        line = line.replace(jetsons, ours)
    (tmp_path / "street.bundle").symlink_to(BUNDLE)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"YUV4MPEG2" not in done.stdout
    labels = (tmp_path / "labels.y4m").read_bytes()
    assert labels.startswith(b"YUV4MPEG2 W96 H64")
    assert labels.count(b"FRAME\n") == 3


# --- C++ ---


def compile_cpp(source: str, folder: Path, *arguments: str) -> None:
    (folder / "main.cpp").write_text(source)
    done = subprocess.run(
        [*COMPILER, *arguments, str(folder / "main.cpp")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def vendor_folders(source: str) -> list[str]:
    """Options that find NVIDIA's headers; skips where they are not installed."""
    text = source + "".join(path.read_text() for path in EXAMPLES.glob("*.h") if f'"{path.name}"' in source)
    options = []
    for header, places in VENDOR.items():
        if f"<{header}>" not in text:
            continue
        folders = [
            found for place in places for found in sorted(Path("/").glob(place[1:])) if (found / header).exists()
        ]
        if not folders:
            pytest.skip(f"{header} is not installed: expected in {' or '.join(places)}")
        options += ["-isystem", str(folders[-1])]
    return options


@pytest.mark.parametrize("index", range(len(cpp_blocks())))
def test_the_cpp_of_the_page_compiles(index: int, tmp_path: Path) -> None:
    source = cpp_blocks()[index]
    compile_cpp(source, tmp_path, "-fsyntax-only", *vendor_folders(source))


@pytest.mark.parametrize("header", sorted(path.name for path in EXAMPLES.glob("*.h")))
def test_the_examples_headers_stand_by_themselves(header: str, tmp_path: Path) -> None:
    source = f'#include "{header}"\n'
    compile_cpp(source, tmp_path, "-fsyntax-only", *vendor_folders(source))


def test_the_check_of_directions_knows_right_from_wrong(tmp_path: Path) -> None:
    (check,) = [text for text in cpp_blocks() if "points_back" in text]
    main = """
#include "motion_vectors.h"
int main() {
  std::vector<float> memory;
  const auto right = [&](std::int16_t x, std::int16_t y) {
    std::vector<std::int16_t> pairs;
    for (int i = 0; i < 16 * 8; ++i) pairs.insert(pairs.end(), {x, y});
    const auto flow = jetson::to_flow({.data = pairs.data(), .columns = 16, .rows = 8, .pitch = 64,
                                       .picture_width = 64, .picture_height = 32}, memory);
    return points_back(flow, 128, 64, 8, -4);  // the frame is twice the picture
  };
  // Moved by 4 and -2 pixels of the picture: past minus current.
  return right(-4 * 32, 2 * 32) && !right(4 * 32, -2 * 32) && !right(-8 * 32, 4 * 32) ? 0 : 1;
}
"""
    compile_cpp(check + main, tmp_path, "-o", str(tmp_path / "check"))
    subprocess.run([str(tmp_path / "check")], check=True)
