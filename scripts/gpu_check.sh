#!/usr/bin/env bash
# Everything of ours that wants a GPU, on a machine that has one with CUDA's compiler and PyTorch, and needs no network:
# builds the kernels for that GPU, times them, whole frames and a training step, tries TensorRT where it is, then runs the
# tests labelled "gpu" and those in Python with that marker, and says which bars the figures meet. One JSON, written anew
# after every step, with every figure, and every skip and failure with its reason.
# Under 8 minutes.
# Run: scripts/gpu_check.sh [OUT] [--wheels FOLDER] [--bundles FOLDER] [--models NAME...] [--sizes WxH...] [--steps NAME...]
#   OUT: the JSON's folder ($OUT, else benchmarks/results/<gpu>); PYTHON: an interpreter with PyTorch, cmake and ninja
#   --wheels: what is carried to a machine that lacks it: wheels (nlohmann-json, which the build wants; nanobind, for the
#     Python module; pydantic, pydantic_core, annotated_types, typing_inspection, typing_extensions 4.16 or later, PyYAML,
#     safetensors, transformers and what it wants, for all that is in Python; kornia, kornia_rs, rich, typer, Pillow, for
#     training and pipelines; pytest, pytest-timeout, hypothesis and what these three want, for the tests in Python; openvino
#     in the version that pyproject.toml pins, for exports and whatever compares with the CPU; tensorrt_rtx and its parts),
#     each for the interpreter that is there (for Python 3.12: cp312 or abi3), and beside them folders: headers (anything that
#     holds nlohmann/json.hpp), GoogleTest's sources. A wheel too large to be carried goes in pieces (scripts/pieces.py split),
#     which are put together here. Plans of benchmarks/rtx_plan.py --plans among it are tried, too. Not numpy, torch and onnx
#     where the machine has them: carried, they would stand before those that fit one another there.
#   --bundles: what `benchmarks/gpu_pipelines.py --export-only --bundles FOLDER` made where OpenVINO is; needed where it is
#     not. Of each network its bundle is enough, without the checkpoint, unless TensorRT runs there.
#   --models, --sizes: of the users' pipelines; the same as there. By default the largest row alone.
#   --steps: these alone, and what they need (the GPU's name, wheels, the build), with what an earlier call on this machine
#     built: nothing of it is repeated, and the report goes on from that call's.
#   GTEST_ROOT: GoogleTest, its sources or where it is installed. Without it the tests are left out.
#   TENSORRT_ROOT: TensorRT's headers and library, if any (with wheels headers are enough).
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/gpu_check.py "$@"
