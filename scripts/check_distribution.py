"""Check what is in the source distribution and in the wheel: nothing missing, nothing that has strayed in.

Run: python scripts/check_distribution.py SDIST.tar.gz WHEEL.whl
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("stpl", "stpl_rt")

# The source distribution is the repository without what only its own machines need.
SDIST_TOP = {".clang-format", ".clang-tidy", ".gitignore", ".pre-commit-config.yaml", "constraints.txt", "Makefile"}
SDIST_TOP |= {"BENCHMARKS.md", "CMakeLists.txt", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
SDIST_TOP |= {"benchmarks", "bindings", "cmake", "cpp", "docs", "examples", "include", "models", "python"}
SDIST_TOP |= {"scripts", "tests"}
DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
LICENSES = {f"stpl_rt/licenses/{name}.txt" for name in ("nanobind", "nlohmann_json", "robin_map")}
"""Of what the extension module has compiled in."""
EXTENSION = re.compile(r"stpl_rt/_core\.(abi3|cpython-\d+-\w+-linux-gnu)\.so")
REQUIRED_ALWAYS = {"numpy", "openvino"}


def package_files() -> set[str]:
    """The files of our packages as they lie in the repository, named as in the wheel."""
    folder = ROOT / "python"
    files = (path for package in PACKAGES for path in (folder / package).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in files if path.suffix not in {".pyc", ".so"}}


def difference(what: str, expected: set[str], found: set[str]) -> list[str]:
    """Say what is missing and what is too much."""
    faults = [f"{what}: {name} is missing" for name in sorted(expected - found)]
    return faults + [f"{what}: {name} should not be there" for name in sorted(found - expected)]


def sdist_faults(path: Path) -> list[str]:
    """Compare the top of the source distribution with the list above, its packages and sources with the repository."""
    with tarfile.open(path) as archive:
        members = [PurePosixPath(member.name) for member in archive if member.isfile()]
    names = {PurePosixPath(*member.parts[1:]) for member in members}
    faults = difference(path.name, SDIST_TOP, {name.parts[0] for name in names})
    found = {name.relative_to("python").as_posix() for name in names if name.parts[0] == "python"}
    return faults + difference(path.name, package_files(), found)


def wheel_faults(path: Path) -> list[str]:
    """Compare the wheel with the repository's packages, the extension module and the metadata of one distribution."""
    with zipfile.ZipFile(path) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        info = "-".join(path.name.split("-")[:2]) + ".dist-info/"
        metadata = archive.read(info + "METADATA").decode() if info + "METADATA" in names else ""
    extensions = {name for name in names if EXTENSION.fullmatch(name)}
    expected = package_files() | LICENSES | extensions | {info + name for name in DIST_INFO}
    faults = difference(path.name, expected, names)
    if len(extensions) != 1:
        faults.append(f"{path.name}: expected one extension module stpl_rt/_core, found {sorted(extensions)}")
    lines = re.findall(r"^Requires-Dist: ([\w.-]+)(.*)$", metadata, re.MULTILINE)
    required = {name for name, rest in lines if "extra ==" not in rest}
    faults += difference(f"{path.name}: what it requires", REQUIRED_ALWAYS, required)
    if "manylinux" not in path.name:
        faults.append(f"{path.name}: expected a manylinux tag (auditwheel repair)")
    return faults


def main() -> None:
    """Print every fault; exit status 1 where there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sdist", type=Path)
    parser.add_argument("wheel", type=Path)
    arguments = parser.parse_args()
    faults = sdist_faults(arguments.sdist) + wheel_faults(arguments.wheel)
    if faults:
        sys.exit("\n".join(faults))
    print(f"{arguments.sdist.name}, {arguments.wheel.name}: complete, nothing else in them")


if __name__ == "__main__":
    main()
