#!/usr/bin/env bash
# Builds the fuzzers and lets each look for inputs that break what reads untrusted data, one after the other.
# Run: scripts/fuzz.sh [SECONDS [TARGET...]]   SECONDS each (60), all targets; with CXX set to a Clang of 15 or later
# What is found lies in build/fuzz/findings; build/fuzz/summary.tsv says what ran. Status 1 where something was found.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-60}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || { echo "scripts/fuzz.sh: expected a number of seconds, found \"$seconds\"" >&2; exit 2; }
shift || true
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(manifest bundle onnx_file frame y4m)

# The newest Clang: distributions call it clang++-19 and leave clang++ to an older one.
newest_clang() { compgen -c clang++ | grep -E '^clang\+\+(-[0-9]+)?$' | sort -t- -k2 -n | tail -1; }
compiler="${CXX:-$(newest_clang)}"
if [[ -z "$compiler" ]]; then
  echo "scripts/fuzz.sh: expected Clang 15 or later, found none (Debian, Ubuntu: apt install clang-19 libclang-rt-19-dev)" >&2
  exit 2
fi

build=build/fuzz
mkdir -p "$build/findings"
rm -f "$build/summary.tsv"
cmake -S . -B "$build" -DCMAKE_CXX_COMPILER="$compiler" -DPython_EXECUTABLE="$(command -v "${PYTHON:-python3}")" \
  -DSTPL_RT_LIBRARY=OFF -DSTPL_RT_FUZZ=ON >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
cmake --build "$build" -j "${JOBS:-2}" -- --quiet

export UBSAN_OPTIONS=print_stacktrace=1
summary="$build/summary.tsv"
printf 'target\tseconds\texecutions\tfindings\n' >"$summary"
status=0
for target in "${targets[@]}"; do
  corpus="$build/corpus/$target"  # what is new goes here; the committed one is read
  log="$build/$target.log"
  mkdir -p "$corpus"
  words=()
  [[ -f "tests/fuzz/$target.dict" ]] && words=(-dict="tests/fuzz/$target.dict")
  findings=0
  "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 \
    "${words[@]}" -artifact_prefix="$build/findings/$target-" "$corpus" "tests/fuzz/corpus/$target" \
    >"$log" 2>&1 || findings=1
  executions="$(grep -a '^stat::number_of_executed_units' "$log" | awk '{print $2}')"
  printf '%s\t%s\t%s\t%s\n' "$target" "$seconds" "${executions:-0}" "$findings" >>"$summary"
  if [[ $findings -ne 0 ]]; then
    status=1
    tail -n 40 "$log" >&2
  fi
done
column -t "$summary" 2>/dev/null || cat "$summary"
exit "$status"
