#!/usr/bin/env bash
# Frames around networks that PyTorch's AOTInductor compiled, on an emulated GPU: makes a bundle and its package for the
# processor, builds the engine that benchmarks have for GPUs without TensorRT (benchmarks/inductor_engine.cpp), tests both,
# and runs the benchmark of whole frames, whose times mean nothing here.
# Run: scripts/inductor.sh   with PYTHON, an interpreter that has stpl, stpl_rt, openvino, onnx and torch
set -euo pipefail
cd "$(dirname "$0")/.."

python="$(command -v "${PYTHON:-.venv/bin/python}")"
build=build/inductor
mkdir -p "$build"

"$python" benchmarks/gpu_pipelines.py --export-only --device cpu --precision f32 --models compact --sizes 96x64 \
  --bundles "$build/bundles"
folder="$build/bundles/compact-96x64-f32"
"$python" benchmarks/inductor_packages.py --device cpu --precision f32 "$folder"

cmake -S . -B "$build" -DSTPL_RT_INDUCTOR=ON -DSTPL_RT_TESTS=ON -DSTPL_RT_PYTHON=OFF -DSTPL_RT_WERROR=ON \
  "-DPython_EXECUTABLE=$python" >"$build/configure.log" 2>&1 || { cat "$build/configure.log" >&2; exit 1; }
cmake --build "$build" --parallel "${JOBS:-2}" --target stpl_rt_inductor_tests stpl_rt_emulated_inductor_pipeline
STPL_INDUCTOR_BUNDLE="$folder/bundle" "$build/tests/cpp/cuda/stpl_rt_inductor_tests"
"$build/tests/cpp/cuda/stpl_rt_emulated_inductor_pipeline" "$folder/bundle" f32 8 --json "$build/pipeline.json"
grep -q '"fixed:5, host to host"' "$build/pipeline.json"
