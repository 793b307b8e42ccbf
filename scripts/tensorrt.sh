#!/usr/bin/env bash
# Builds stpl_rt with TensorRT and runs the tests of its engine: with a GPU all of them, without one what needs none.
# TENSORRT_ROOT says where TensorRT is: an SDK's folder, or "HEADERS;LIBRARIES" where they lie apart. Without TensorRT's
# headers, which no package index has, it says where to get them and does nothing.
# Run: scripts/tensorrt.sh   with PYTHON, an interpreter that has onnx and pip; STPL_OPENVINO=ON builds with OpenVINO too
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}"
build=build/tensorrt
roots="${TENSORRT_ROOT:-}"

has() {  # a file of this name, two folders deep at most, in one of the roots
  local root
  while IFS= read -r -d ';' root; do
    [[ -n "$root" ]] && find -L "$root" -maxdepth 3 -name "$1" -print -quit 2>/dev/null | grep -q . && return 0
  done <<<"$roots;"
  return 1
}

installed_headers="$(find -L /usr/include /usr/local/tensorrt/include -maxdepth 2 -name NvInfer.h -print -quit 2>/dev/null || true)"
if ! has NvInfer.h && [[ -z "$installed_headers" ]]; then
  echo "make tensorrt: skipped: expected TensorRT's headers (NvInfer.h) in TENSORRT_ROOT, found none in \"$roots\". They are in" \
    "NVIDIA's public TensorRT repository, folder include/, and in every TensorRT SDK: TENSORRT_ROOT=<folder that holds" \
    "include/> make tensorrt" >&2
  exit 0
fi
if ! has 'libnvinfer.so*' && ! has 'libtensorrt_rtx.so*' && [[ -z "$installed_headers" ]]; then
  # The library alone, from its Python package: TensorRT for RTX, which builds plans without a GPU.
  find_package='import importlib.util as u; s = u.find_spec("tensorrt_rtx_libs"); print(s.submodule_search_locations[0] if s else "")'
  packages="$("$python" -c "$find_package")"
  if [[ -z "$packages" ]]; then
    echo "expected TensorRT's library in TENSORRT_ROOT or the Python package tensorrt_rtx, found neither: $python -m pip" \
      "install tensorrt-rtx, or TENSORRT_ROOT=\"<headers>;<libraries>\"" >&2
    exit 2
  fi
  roots="$roots;$packages"
fi
# The CUDA runtime's headers and static library; no compiler is run.
cuda="$(PYTHON="$python" scripts/cuda_toolkit.sh)"

cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DSTPL_RT_TENSORRT=ON -DSTPL_RT_OPENVINO="${STPL_OPENVINO:-OFF}" \
  -DSTPL_RT_TESTS=ON -DSTPL_RT_WERROR=ON -DPython_EXECUTABLE="$(command -v "$python")" "-DTENSORRT_ROOT=$roots" \
  "-DCUDAToolkit_ROOT=$cuda"
cmake --build "$build" --parallel 2 --target stpl_rt_tensorrt_tests stpl-segment
ctest --test-dir "$build" --output-on-failure -L tensorrt
