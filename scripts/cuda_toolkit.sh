#!/usr/bin/env bash
# Prints the root of a CUDA toolkit (<root>/bin/nvcc): of the one on the path, in CUDA_HOME or in /usr/local/cuda, else of
# one that it installs into FOLDER from NVIDIA's Python packages. That is enough to compile and link our kernels.
# Run: scripts/cuda_toolkit.sh [FOLDER]   FOLDER: .venv/cuda; with PYTHON, an interpreter that has pip;
#      STPL_CUDA_TOOLKIT=packages leaves an installed toolkit aside
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
folder="${1:-.venv/cuda}"

if [[ "${STPL_CUDA_TOOLKIT:-}" != packages ]]; then
  for nvcc in "$(command -v nvcc || true)" "${CUDA_HOME:-/nowhere}/bin/nvcc" /usr/local/cuda/bin/nvcc; do
    # What is on the path may be a script or a link: nvcc itself says where it lies.
    [[ -x "$nvcc" ]] || continue
    root="$("$nvcc" --dryrun -c -x cu /dev/null -o /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p' || true)"
    if [[ -n "$root" && -x "$root/bin/nvcc" ]]; then
      realpath "$root"
      exit 0
    fi
  done
fi

root="$folder/nvidia/cu13"
if [[ ! -e "$root/.complete" ]]; then
  rm -rf "$folder"
  # --no-deps: nvcc asks for the latest of the others, which belong to another toolkit.
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --target "$folder" \
    --constraint constraints.txt nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime nvidia-cuda-cccl >&2
  # nvcc looks for its libraries in lib64, and pip may drop the modes of programs.
  ln -sfn lib "$root/lib64"
  ln -sfn libcudart.so.13 "$root/lib/libcudart.so"
  chmod +x "$root"/bin/* "$root"/nvvm/bin/*
  touch "$root/.complete"
fi
realpath "$root"
