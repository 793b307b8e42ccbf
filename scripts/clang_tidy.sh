#!/usr/bin/env bash
# Runs clang-tidy over our C++ sources, two at a time.
# Run: scripts/clang_tidy.sh BUILD_FOLDER   (a CMake build tree with compile_commands.json)
set -euo pipefail
cd "$(dirname "$0")/.."

build="$1"
if ! command -v clang-tidy >/dev/null; then
  echo "clang-tidy is not installed (Debian, Ubuntu: apt install clang-tidy): skipped" >&2
  exit 0
fi
# GCC's own attributes and flags mean nothing to clang; -Wno-* keeps them from being errors.
find cpp -name '*.cpp' -print0 |
  xargs -0 -n 1 -P 2 clang-tidy -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option \
    --extra-arg=-Wno-ignored-optimization-argument 2> >(grep -v "warnings\? generated" >&2 || true)
