#!/usr/bin/env bash
# Compiles libstpl_rt and its unit tests for 64-bit ARM with the cross-compiler of Debian or Ubuntu, checks that the
# kernels are vector code, and runs the tests in qemu-user's emulation. Without an engine those of kernels, flow, bundles
# and scene cuts; with "openvino", for which OpenVINO's wheel for that machine is downloaded, those of networks and
# streams too. The emulator needs a minute for what the machine does in a second.
# Run: scripts/aarch64.sh [openvino]   with PYTHON, an interpreter that has onnx, cmake and ninja (.venv's by default)
set -euo pipefail
cd "$(dirname "$0")/.."

python="$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")"
export PATH="${python%/*}:$PATH" CMAKE_BUILD_PARALLEL_LEVEL="${JOBS:-2}" CTEST_PARALLEL_LEVEL="${JOBS:-2}"
build=build/aarch64
engine=(-DSTPL_RT_OPENVINO=OFF)

if [[ "${1:-}" == openvino ]]; then
  build=build/aarch64-openvino
  wheel="$PWD/$build/openvino-wheel"
  if [[ ! -d "$wheel/openvino" ]]; then
    requirement="$("$python" scripts/requirements.py core | grep '^openvino')"
    "$python" -m pip download --quiet --no-deps --only-binary :all: --dest "$build" \
      --platform manylinux_2_35_aarch64 "$requirement"
    "$python" -m zipfile -e "$build"/openvino-*.whl "$wheel"
  fi
  engine=(-DSTPL_RT_OPENVINO=ON "-DOpenVINO_DIR=$wheel/openvino/cmake")
fi

scripts/system_packages.sh crosscompiler emulator gtestsource
cmake -S . -B "$build" -G Ninja --toolchain "$PWD/cmake/aarch64-linux-gnu.cmake" "${engine[@]}" \
  -DSTPL_RT_TESTS=ON -DSTPL_RT_WERROR=ON "-DPython_EXECUTABLE=$python" -Wno-deprecated
cmake --build "$build"

"$python" scripts/check_neon.py "$build"
ctest --test-dir "$build" --output-on-failure --timeout 900
