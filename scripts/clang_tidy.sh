#!/usr/bin/env bash
# Runs clang-tidy over our C++ sources, two at a time. Kernels for GPUs are read as the loops that the tests run.
# Run: scripts/clang_tidy.sh BUILD_FOLDER [SOURCE_FOLDER]   (a CMake build tree with compile_commands.json; cpp)
set -euo pipefail
cd "$(dirname "$0")/.."

build="$1"
if ! command -v clang-tidy >/dev/null; then
  echo "clang-tidy is not installed (Debian, Ubuntu: apt install clang-tidy): skipped" >&2
  exit 0
fi
# What includes CUDA's or TensorRT's own headers can be read only where those were found.
skipped=()
grep -q /cpp/core/cuda/ "$build/compile_commands.json" || skipped+=(-not -path 'cpp/core/cuda/*')
for name in library builder plans context engine; do
  file="cpp/engine/tensorrt_$name.cpp"
  grep -q "/$file" "$build/compile_commands.json" || skipped+=(-not -path "$file")
done
# GCC's own attributes and flags mean nothing to clang; -Wno-* keeps them from being errors.
find "${2:-cpp}" \( -name '*.cpp' -o -name '*.cu' \) "${skipped[@]}" -print0 |
  xargs -0 -n 1 -P 2 clang-tidy -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option \
    --extra-arg=-Wno-ignored-optimization-argument 2> >(grep -v "warnings\? generated" >&2 || true)
