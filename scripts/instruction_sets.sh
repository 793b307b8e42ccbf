#!/usr/bin/env bash
# Runs the unit tests of what needs no network (kernels, flow, bundles) with the kernels compiled for one level of x86-64's
# instructions at a time: of the usual build's clones a machine only ever runs the best that it has. Levels that this
# machine has not are left out. Without an engine, in trees of their own (build/levels/).
# Run: scripts/instruction_sets.sh [LEVEL...]   of x86-64 (SSE2), x86-64-v3 (AVX2), x86-64-v4 (AVX-512); all by default.
#      With PYTHON, an interpreter that has onnx and cmake (.venv's by default)
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ "$(uname -m)" != x86_64 ]]; then
  echo "scripts/instruction_sets.sh: nothing to do: on $(uname -m) every kernel is compiled once"
  exit 0
fi
python="$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")"
export PATH="${python%/*}:$PATH"
scripts/system_packages.sh compiler gtest

has() {
  case "$1" in
    x86-64) true ;;
    x86-64-v3) grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo && grep -qw bmi2 /proc/cpuinfo ;;
    x86-64-v4) grep -qw avx512vl /proc/cpuinfo && grep -qw avx512bw /proc/cpuinfo && grep -qw avx512dq /proc/cpuinfo ;;
    *)
      echo "scripts/instruction_sets.sh: expected x86-64, x86-64-v3 or x86-64-v4, found \"$1\"" >&2
      exit 2
      ;;
  esac
}

[[ $# -gt 0 ]] || set -- x86-64 x86-64-v3 x86-64-v4
for level in "$@"; do
  if ! has "$level"; then
    echo "$level: this machine has it not"
    continue
  fi
  build="build/levels/$level"
  mkdir -p "$build"
  cmake -S . -B "$build" "-DCMAKE_CXX_FLAGS=-march=$level -DSTPL_RT_NO_MULTIVERSION" -DSTPL_RT_OPENVINO=OFF \
    -DSTPL_RT_TESTS=ON -DSTPL_RT_WERROR=ON "-DPython_EXECUTABLE=$python" >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
  cmake --build "$build" -j "${JOBS:-2}" --target stpl_rt_tests
  # Those of emulated GPUs and of the fuzzers' corpora are not built here; those of an engine are disabled.
  ctest --test-dir "$build" --output-on-failure --timeout 300 -j "${JOBS:-2}" -E 'NOT_BUILT|^emulated|^fuzz_' \
    >"$build.log" 2>&1 || { tail -n 60 "$build.log" >&2; exit 1; }
  echo "$level: $(grep 'tests passed' "$build.log")"
done
