#!/usr/bin/env bash
# Builds the library and its C++ tests with the compiler's sanitizers, in a tree of its own, and runs all tests.
# Run: scripts/sanitizers.sh address|thread [CTEST_ARGUMENT...]   with PYTHON set to one that has openvino and onnx
#   address: AddressSanitizer with leaks, and UndefinedBehaviorSanitizer (build/asan)
#   thread:  ThreadSanitizer (build/tsan)
set -euo pipefail
cd "$(dirname "$0")/.."

kind="${1:-}"
case "$kind" in
  address) build=build/asan sanitizers=address,undefined ;;
  thread) build=build/tsan sanitizers=thread ;;
  *)
    echo "scripts/sanitizers.sh: expected address or thread, found \"$kind\"" >&2
    exit 2
    ;;
esac
shift

scripts/system_packages.sh compiler gtest
mkdir -p build
cmake -S . -B "$build" -DPython_EXECUTABLE="$(command -v "${PYTHON:-python3}")" -DSTPL_RT_TESTS=ON -DSTPL_RT_WERROR=ON \
  -DSTPL_RT_SANITIZE="$sanitizers" >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
cmake --build "$build" -j "${JOBS:-2}" -- --quiet

suppressions="$PWD/tests/sanitizers"
export ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1"
export LSAN_OPTIONS="suppressions=$suppressions/leaks.txt:print_suppressions=0"
export TBB_ENABLE_SANITIZERS=1  # the engine's thread library otherwise loads its parts as no sanitizer can follow
export UBSAN_OPTIONS="print_stacktrace=1"
export TSAN_OPTIONS="suppressions=$suppressions/races.txt:second_deadlock_stack=1:halt_on_error=1"
# Older ThreadSanitizers find their memory taken where the system places programs at random; not as root's alone.
run=()
[[ "$kind" == thread ]] && setarch --addr-no-randomize true 2>/dev/null && run=(setarch --addr-no-randomize)
"${run[@]}" ctest --test-dir "$build" --output-on-failure --timeout 300 -j "${JOBS:-2}" "$@"
