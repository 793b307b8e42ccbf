"""The installed library: what lies where, what it shows, and that the examples and docs/embedding.md work with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stpl_rt

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/cmake"
INCLUDE = ROOT / "include/stpl_rt"
EXAMPLES = ROOT / "examples"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]

pytestmark = pytest.mark.packaging

# Plain imports of a folder's package, without the finder of an editable installation.
RUN_ISOLATED = (
    "import runpy, sys\n"
    "sys.meta_path = [f for f in sys.meta_path if 'ScikitBuild' not in type(f).__name__]\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


def run_well(*command: object, **options: Any) -> str:
    done = run(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tool(name: str) -> str:
    """The path of a program, of this Python's environment first."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs/embedding.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installed by the command of docs/embedding.md, then moved."""
    if not (BUILD / "libstpl_rt.so").exists():
        pytest.skip("needs the build tree that `make test` makes in build/cmake")
    folder = tmp_path_factory.mktemp("install")
    (command,) = [line for line in blocks("bash")[0].splitlines() if "--install" in line]
    places = {"cmake": tool("cmake"), "build/release": str(BUILD), "/opt/stpl": str(folder / "first")}
    run_well(*[places.get(word, word) for word in command.split()])
    return (folder / "first").rename(folder / "moved")


@pytest.fixture(scope="module")
def libraries(prefix: Path) -> Path:
    """Where the library lies: lib, on some systems lib64."""
    (link,) = prefix.glob("lib*/libstpl_rt.so")
    return link.parent


@pytest.fixture(scope="module")
def pkg_config(libraries: Path) -> dict[str, str]:
    """An environment in which pkg-config finds the installed library."""
    tool("pkg-config")
    return {**os.environ, "PKG_CONFIG_PATH": str(libraries / "pkgconfig")}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven frames of 129 x 97, the left 64 columns red, the others blue, as Y4M (BT.601, limited range)."""
    luma = np.full((97, 129), 41, np.uint8)
    cb, cr = np.full((49, 65), 240, np.uint8), np.full((49, 65), 110, np.uint8)
    luma[:, :64], cb[:, :32], cr[:, :32] = 81, 90, 240
    path = tmp_path_factory.mktemp("video") / "halves.y4m"
    frame = b"FRAME\n" + luma.tobytes() + cb.tobytes() + cr.tobytes()
    path.write_bytes(b"YUV4MPEG2 W129 H97 F25:1 Ip A1:1 C420mpeg2\n" + 7 * frame)
    return path


# --- what lies where ---


def dynamic(path: Path) -> str:
    return run_well(tool("readelf"), "-d", path)


def test_the_files_are_where_the_system_looks_for_them(prefix: Path, libraries: Path) -> None:
    found = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir()}
    lib = libraries.name
    versioned = {f"{lib}/libstpl_rt.so{version}" for version in ("", ".0.1", ".0.1.0")}
    package = {f"{lib}/cmake/stpl_rt/stpl_rt{part}.cmake" for part in ("Config", "ConfigVersion", "Targets")}
    targets = {name for name in found if re.fullmatch(rf"{lib}/cmake/stpl_rt/stpl_rtTargets-[a-z]+\.cmake", name)}
    assert targets
    others = {"bin/stpl-segment", f"{lib}/pkgconfig/stpl_rt.pc", "share/doc/stpl_rt/LICENSE"}
    headers = {f"include/stpl_rt/{path.name}" for path in INCLUDE.glob("*.h")}
    assert found == versioned | package | targets | others | headers


def test_the_library_is_versioned_and_looks_beside_itself_first(libraries: Path) -> None:
    library = libraries / "libstpl_rt.so"
    assert library.readlink() == Path("libstpl_rt.so.0.1")
    assert (libraries / "libstpl_rt.so.0.1").readlink() == Path("libstpl_rt.so.0.1.0")
    assert "Library soname: [libstpl_rt.so.0.1]" in dynamic(library)
    assert re.search(r"(RUNPATH|RPATH).*\[\$ORIGIN[:\]]", dynamic(library))


def test_the_installed_program_runs(prefix: Path, test_bundle: Path, video: Path) -> None:
    done = run(prefix / "bin/stpl-segment", test_bundle, video, "--labels", "-")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 7 * 129 * 97


def test_the_installed_program_says_what_python_says_of_the_same_planes(
    prefix: Path, test_bundle: Path, tmp_path: Path
) -> None:
    """Frames in 4:2:0 are pushed as they lie in the file, so that flow follows the same luma."""
    y, x = np.mgrid[:144, :128]
    frames = []
    for t in range(6):
        luma = 120 + 50 * np.sin(0.2 * (x + 3 * t)) * np.cos(0.17 * y) + 40 * np.sin(0.11 * y - 0.23 * (x + 3 * t))
        luma[96:] = np.roll(luma, 40)[96:]  # Cb and Cr: other textures, as strong
        frames.append(luma.astype(np.uint8))
    header = b"YUV4MPEG2 W128 H96 F25:1 Ip A1:1 C420jpeg XCOLORRANGE=FULL\n"
    clip, labels = tmp_path / "clip.y4m", tmp_path / "labels"
    clip.write_bytes(header + b"".join(b"FRAME\n" + frame.tobytes() for frame in frames))
    run_well(prefix / "bin/stpl-segment", test_bundle, clip, "--schedule", "fixed:3", "--labels", labels)
    segmenter = stpl_rt.Segmenter(test_bundle, schedule="fixed:3")
    expected = [segmenter.push(frame, format="i420", encoding="bt601_full").labels for frame in frames]
    np.testing.assert_array_equal(np.fromfile(labels, np.uint8).reshape(6, 96, 128), np.stack(expected))


def test_no_installed_text_names_the_folder_it_was_made_in(prefix: Path) -> None:
    for path in [*prefix.rglob("*.cmake"), *prefix.rglob("*.pc"), *prefix.rglob("*.h")]:
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text and str(prefix.parent) not in text, path


# --- what it shows ---


def marked(header: str) -> list[str]:
    """The declarations of a header that STPL_RT_API marks, each up to its body or end."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", (INCLUDE / header).read_text(encoding="utf-8"), flags=re.DOTALL)
    return [kind + rest for kind, rest in re.findall(r"(class\s+|)STPL_RT_API\s+([^;{]*)", text)]


def function_name(declaration: str) -> str:
    match = re.search(r"(operator\W+|\w+)\s*\(", declaration)
    assert match is not None, declaration
    return match[1]


def test_the_library_shows_what_the_headers_mark_and_nothing_else(libraries: Path) -> None:
    lines = run_well(tool("nm"), "-DC", "--defined-only", libraries / "libstpl_rt.so").splitlines()
    shown = {line.split(maxsplit=2)[2]: line.split()[1] for line in lines}

    c_functions = {function_name(declaration) for declaration in marked("c_api.h")}
    assert len(c_functions) > 30
    assert {name for name in shown if "::" not in name} == c_functions

    classes, functions = set(), set()
    for header in INCLUDE.glob("*.h"):
        if header.name in {"c_api.h", "export.h"}:
            continue
        for declaration in marked(header.name):
            if declaration.startswith("class "):
                classes.add(declaration.split()[1])
            else:
                functions.add(function_name(declaration))
    # Error is all inline: each library that uses it has a copy of its type information, which the linker makes one of.
    # No other weak symbol is shown: code of nlohmann/json, OpenVINO's headers and the standard library stays inside.
    weak = {f"{what} for stpl_rt::Error" for what in ("vtable", "typeinfo", "typeinfo name")}
    assert {name for name, kind in shown.items() if kind != "T"} == weak
    seen = set()
    for name in {name for name in shown if "::" in name} - weak:
        space, owner, *member = re.split(r"[(\[]", name)[0].split("::")
        assert space == "stpl_rt" and len(member) == (owner in classes) and owner in classes | functions, name
        seen.add(owner)
    assert seen == classes - {"Error"} | functions, "cmake/stpl_rt.map and the headers differ"


def test_every_header_stands_by_itself(prefix: Path, tmp_path: Path) -> None:
    compiler = [tool("g++"), "-std=c++20", "-fsyntax-only", "-pedantic", *WARNINGS, "-I", str(prefix / "include")]
    for header in INCLUDE.glob("*.h"):
        (tmp_path / f"{header.stem}.cpp").write_text(f"#include <stpl_rt/{header.name}>\n")
    run_well(*compiler, *sorted(tmp_path.glob("*.cpp")))


# --- the examples ---


def compile_c(source: Path, program: Path, environment: dict[str, str]) -> None:
    """By the command of docs/embedding.md."""
    (command,) = [line for line in blocks("bash")[1].splitlines() if line.startswith("cc ")]
    command = command.replace("main.c", f"'{source}' -pedantic {' '.join(WARNINGS)}").replace(
        "-o app", f"-o '{program}'"
    )
    run_well("bash", "-euc", command, env=environment)


def build_cpp(source: Path, build: Path, prefix: Path) -> None:
    flags = " ".join(WARNINGS)
    configure = [f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_FLAGS={flags}", f"-DCMAKE_C_FLAGS={flags}"]
    run_well(tool("cmake"), "-S", source, "-B", build, *configure)
    run_well(tool("cmake"), "--build", build)


@pytest.fixture(scope="module")
def c_example(pkg_config: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("c") / "segment_y4m"
    compile_c(EXAMPLES / "c/segment_y4m.c", program, pkg_config)
    return program


@pytest.fixture(scope="module")
def cpp_example(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("cpp")
    build_cpp(EXAMPLES / "cpp", build, prefix)
    return build / "segment_video"


def test_the_c_example_counts_the_pixels_of_each_class(c_example: Path, test_bundle: Path, video: Path) -> None:
    with video.open("rb") as stream:
        lines = run_well(c_example, test_bundle, "fixed:3", stdin=stream).splitlines()
    assert [line.split()[:2] for line in lines] == [[str(i), "-" if i % 3 else "key"] for i in range(7)]
    for line in lines:
        words = line.split(" ms: ")[1].split()
        counts = {name: int(count) for name, count in zip(words[::2], words[1::2], strict=True)}
        assert sum(counts.values()) == 129 * 97
        assert counts["red"] == pytest.approx(64 * 97, rel=0.05)
        assert counts["blue"] == pytest.approx(65 * 97, rel=0.05)


def test_the_c_example_says_what_is_wrong(c_example: Path, test_bundle: Path, video: Path) -> None:
    whole = video.read_bytes()
    damaged = whole.replace(b"FRAME", b"FRANE")
    for content in (b"", b"other data", whole[:-1], whole.replace(b"C420mpeg2", b"C420p10"), damaged):
        answer = subprocess.run([c_example, test_bundle], input=content, capture_output=True, check=False)
        assert answer.returncode == 2
        assert b"standard input: expected Y4M" in answer.stderr
    for bundle, schedule, part in [("nowhere", "every", "nowhere"), (test_bundle, "sometimes", "sometimes")]:
        done = run(c_example, bundle, schedule, stdin=subprocess.DEVNULL)
        assert (done.returncode, part in done.stderr) == (2, True), done.stderr


def without_times(text: str) -> str:
    return re.sub(r"[0-9.]+ ms", "", text)


def test_the_cpp_example_says_the_same_of_one_stream_and_of_several(
    cpp_example: Path, test_bundle: Path, video: Path, tmp_path: Path
) -> None:
    shorter = tmp_path / "shorter.y4m"
    shorter.write_bytes(video.read_bytes()[: -3 * (129 * 97 + 2 * 65 * 49 + len("FRAME\n"))])
    one = without_times(run_well(cpp_example, test_bundle, "fixed:3", video))
    other = without_times(run_well(cpp_example, test_bundle, "fixed:3", shorter))
    assert one.startswith(f"{video}: 7 frames, 3 key frames")
    assert other.startswith(f"{shorter}: 4 frames, 2 key frames")
    shares = {name: float(share) for name, share in re.findall(r"  (\w+) ([0-9.]+) %", one)}
    assert shares["red"] == pytest.approx(100 * 64 / 129, rel=0.05)
    together = without_times(run_well(cpp_example, test_bundle, "fixed:3", video, shorter, video))
    assert together == one + other + one


def test_the_cpp_example_says_what_is_wrong(cpp_example: Path, test_bundle: Path, video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.y4m"
    cut.write_bytes(video.read_bytes()[:-1])
    for arguments, status, part in [
        ([], 2, "usage"),
        (["nowhere", "every", video], 1, "io"),
        ([test_bundle, "sometimes", video], 1, "sometimes"),
        ([test_bundle, "every", cut], 2, "cut short"),
        ([test_bundle, "every", EXAMPLES / "cpp/CMakeLists.txt"], 2, "expected a Y4M video"),
    ]:
        done = run(cpp_example, *arguments)
        assert (done.returncode, part in done.stderr) == (status, True), done.stderr


@pytest.fixture(scope="module")
def site(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Python package as the wheel has it."""
    folder = tmp_path_factory.mktemp("site")
    run_well(tool("cmake"), "--install", BUILD, "--component", "python", "--prefix", folder)
    if not list((folder / "stpl_rt").glob("_core*.so")):
        pytest.skip("the build tree is without the extension module")
    shutil.copytree(ROOT / "python/stpl_rt", folder / "stpl_rt", dirs_exist_ok=True)
    return folder


def run_webcam(site: Path, *arguments: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    places = f"{site}:{path}" if path else str(site)
    command = [sys.executable, "-c", RUN_ISOLATED, EXAMPLES / "python/webcam.py", *arguments]
    return run(*command, env={**os.environ, "PYTHONPATH": places})


def test_the_python_example_draws_the_classes_over_a_video(
    site: Path, test_bundle: Path, video: Path, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    out = tmp_path / "overlay.mp4"
    done = run_webcam(site, test_bundle, video, "--out", out, "--schedule", "fixed:3", "--limit", 5)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 frames, 2 key frames, ")
    import av

    with av.open(str(out)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 5
    for picture in pictures:  # of the same colours as the classes; H.264 keeps them roughly
        assert picture[40, 20] == pytest.approx([255, 0, 0], abs=40)
        assert picture[40, 110] == pytest.approx([0, 0, 255], abs=40)


def test_the_python_example_shows_a_window_until_q(site: Path, test_bundle: Path, video: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    stand_in = (
        "shown = []\n"
        "def imshow(name, picture): shown.append(picture); assert picture[40, 20, 2] > 200\n"
        "def waitKey(delay): return ord('q') if len(shown) == 3 else -1\n"
    )
    (tmp_path / "cv2.py").write_text(stand_in)
    done = run_webcam(site, test_bundle, video, path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 frames, 1 key frames, ")


def test_the_python_example_says_what_is_wrong(site: Path, test_bundle: Path, tmp_path: Path) -> None:
    assert "rtsp://" in run_webcam(site, "--help").stdout
    out = tmp_path / "overlay.mp4"
    for arguments, part in [
        (("nowhere", "drive.mp4"), "nowhere"),
        ((test_bundle, tmp_path / "drive.mp4", "--out", out), "drive.mp4"),
        ((test_bundle, "camera:977", "--out", out), "camera:977"),
        ((test_bundle, ROOT / "Makefile", "--out", out, "--schedule", "sometimes"), "sometimes"),
    ]:
        done = run_webcam(site, *arguments)
        assert (done.returncode, part in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
    assert not out.exists()


# --- docs/embedding.md ---


def test_the_cpp_of_the_docs_compiles_by_its_cmake_and_runs(prefix: Path, test_bundle: Path, tmp_path: Path) -> None:
    (project,) = blocks("cmake")
    (tmp_path / "CMakeLists.txt").write_text(project)
    (tmp_path / "main.cpp").write_text("\n".join(blocks("cpp")))
    build_cpp(tmp_path, tmp_path / "build", prefix)
    assert run_well(tmp_path / "build/app", test_bundle) == "dark\n"
    done = run(tmp_path / "build/app", "nowhere")
    assert (done.returncode, done.stderr[:4]) == (1, "io: ")


def test_the_c_of_the_docs_compiles_by_its_command_and_runs(
    pkg_config: dict[str, str], test_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "main.c").write_text("\n".join(blocks("c")))
    compile_c(tmp_path / "main.c", tmp_path / "app", pkg_config)
    assert run_well(tmp_path / "app", test_bundle) == "dark\n"
    done = run(tmp_path / "app", "nowhere")
    assert (done.returncode, "nowhere" in done.stderr) == (1, True)


def test_cmake_finds_it_for_c_alone_and_refuses_another_minor_version(
    prefix: Path, test_bundle: Path, tmp_path: Path
) -> None:
    (project,) = blocks("cmake")
    project = project.replace("LANGUAGES CXX", "LANGUAGES C").replace("main.cpp", "main.c")
    (tmp_path / "CMakeLists.txt").write_text(project)
    (tmp_path / "main.c").write_text(blocks("c")[0])
    build_cpp(tmp_path, tmp_path / "build", prefix)
    assert run_well(tmp_path / "build/app", test_bundle) == "dark\n"
    (tmp_path / "CMakeLists.txt").write_text(project.replace("stpl_rt 0.1", "stpl_rt 0.2"))
    done = run(tool("cmake"), "-S", tmp_path, "-B", tmp_path / "other", f"-DCMAKE_PREFIX_PATH={prefix}")
    assert done.returncode != 0
    assert "version: 0.1.0" in done.stderr


def test_every_block_of_the_docs_is_tried() -> None:
    text = (ROOT / "docs/embedding.md").read_text(encoding="utf-8")
    languages = re.findall(r"^```(\w+)\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    assert text.count("```") == 2 * len(languages)
    assert set(languages) == {"bash", "c", "cmake", "cpp"}
    assert languages.count("bash") == 2 and languages.count("cmake") == 1
