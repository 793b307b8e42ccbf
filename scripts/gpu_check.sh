#!/usr/bin/env bash
# Everything of ours that wants a GPU, on a machine that has one with CUDA's compiler and PyTorch, and needs no network:
# builds the kernels for that GPU, runs the tests labelled "gpu", times the kernels and a training step, tries TensorRT
# where it is. One JSON, with every figure, and every skip and failure with its reason. Under 8 minutes.
# Run: scripts/gpu_check.sh [OUT] [--wheels FOLDER]   OUT: the JSON's folder (benchmarks/results/<gpu>); PYTHON: an
#   interpreter with PyTorch; GTEST_ROOT: GoogleTest's sources, where it is not installed; FOLDER: wheels of what is not
#   installed, of tensorrt_rtx and its parts, kornia, pydantic, av; TENSORRT_ROOT: TensorRT's headers and library, if any
#   (with FOLDER headers are enough). Without OpenVINO, bring what benchmarks/gpu_pipelines.py --export-only makes.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/gpu_check.py "$@"
