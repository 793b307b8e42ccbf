#!/usr/bin/env bash
# Builds libstpl_rt with its kernels for NVIDIA GPUs, and runs their tests; without a GPU those are skipped, with the reason
# (the kernels' arithmetic is tested everywhere: as loops, by the ordinary C++ tests).
# Run: scripts/cuda.sh [ARCHITECTURES]   with PYTHON set to one that has onnx, cmake and ninja (.venv's by default)
#   ARCHITECTURES: as CMAKE_CUDA_ARCHITECTURES takes them; 80 (machine code of 8.0, and PTX for later GPUs); "all" stands
#   for every one that we support
set -euo pipefail
cd "$(dirname "$0")/.."

python="$(realpath --no-symlinks "${PYTHON:-.venv/bin/python}")"
export PATH="${python%/*}:$PATH"
architectures="${1:-80}"
build=build/cuda
if [[ "$architectures" == all ]]; then
  architectures="75-real;80-real;86-real;87-real;89-real;90-real;90-virtual"
  build=build/cuda-all
fi

PYTHON="$python" scripts/system_packages.sh compiler gtest
toolkit="$(PYTHON="$python" scripts/cuda_toolkit.sh)"
mkdir -p build
cmake -S . -B "$build" -G Ninja -DSTPL_RT_CUDA=ON -DSTPL_RT_OPENVINO=OFF -DSTPL_RT_TESTS=ON -DSTPL_RT_WERROR=ON \
  "-DPython_EXECUTABLE=$python" "-DCMAKE_CUDA_COMPILER=$toolkit/bin/nvcc" "-DCUDAToolkit_ROOT=$toolkit" \
  "-DCMAKE_CUDA_ARCHITECTURES=$architectures" >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
cmake --build "$build" -j "${JOBS:-2}" --target stpl_rt stpl_rt_cuda_bench stpl_rt_cuda_pipeline stpl_rt_cuda_tests -- --quiet

ctest --test-dir "$build" --output-on-failure -L gpu -j "${JOBS:-2}" | grep -v -e Skipped -e "Start " -e "Passed"
"$build/tests/cpp/cuda/stpl_rt_cuda_tests" --gtest_filter='CoreOnDevice.*' | sed -n '0,/no GPU/s/^no GPU/The tests on a GPU were skipped: no GPU/p'
