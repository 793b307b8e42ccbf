#!/usr/bin/env bash
# Everything of ours that wants a GPU, on a machine that has one with CUDA's compiler and PyTorch, and needs no network:
# builds the kernels for that GPU, runs the tests labelled "gpu" and those in Python with that marker, times the kernels and
# a training step, tries TensorRT where it is. One JSON, written anew after every step, with every figure, and every skip
# and failure with its reason.
# Under 8 minutes.
# Run: scripts/gpu_check.sh [OUT] [--wheels FOLDER] [--bundles FOLDER] [--models NAME...] [--sizes WxH...]
#   OUT: the JSON's folder ($OUT, else benchmarks/results/<gpu>); PYTHON: an interpreter with PyTorch, cmake and ninja
#   --wheels: what is carried to a machine that lacks it: wheels (nlohmann-json, which the build wants; nanobind, for the
#     Python module; onnx, for the tests; openvino in the version that pyproject.toml pins, for exports and
#     whatever compares with the CPU; pytest, pytest-timeout, hypothesis and what these three want, for the tests in Python;
#     tensorrt_rtx and its parts; kornia, pydantic, av, for training and pipelines), and beside them folders: headers
#     (anything that holds nlohmann/json.hpp), GoogleTest's sources. A wheel too large to be carried goes in pieces
#     (scripts/pieces.py split), which are put together here. Plans of benchmarks/rtx_plan.py --plans among it are tried, too.
#   --bundles: what `benchmarks/gpu_pipelines.py --export-only --bundles FOLDER` made where OpenVINO is; needed where it is
#     not. --models, --sizes: of the pipelines; the same as there.
#   GTEST_ROOT: GoogleTest, its sources or where it is installed. Without it the tests are left out.
#   TENSORRT_ROOT: TensorRT's headers and library, if any (with wheels headers are enough).
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/gpu_check.py "$@"
