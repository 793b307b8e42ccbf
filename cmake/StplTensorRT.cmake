# TensorRT, and the CUDA runtime that its streams and memory need: headers and static library, no compiler.
find_package(TensorRT MODULE)
if(NOT TensorRT_FOUND)
  message(FATAL_ERROR
    "TensorRT 10, 11 or TensorRT for RTX was not found whole: headers \"${TensorRT_INCLUDE_DIR}\", library "
    "\"${TensorRT_LIBRARY}\", ONNX parser \"${TensorRT_PARSER_LIBRARY}\". Install it (JetPack has it; Debian, Ubuntu: apt "
    "install libnvinfer-dev libnvonnxparsers-dev from NVIDIA's repository) or pass -DTENSORRT_ROOT=<folder of the SDK>. "
    "Headers alone are in NVIDIA's public TensorRT repository (include/), libraries in the Python package "
    "tensorrt_rtx_cu13_libs: -DTENSORRT_ROOT=\"<folder with include/>;<site-packages>\". Or configure with "
    "-DSTPL_RT_TENSORRT=OFF.")
endif()
if(TensorRT_VERSION VERSION_LESS 10 AND TensorRT_FLAVOUR STREQUAL "tensorrt")
  message(FATAL_ERROR "TensorRT 10 or later is needed, found ${TensorRT_VERSION} (${TensorRT_INCLUDE_DIR}): pass "
                      "-DTENSORRT_ROOT=<another>.")
endif()
message(STATUS "TensorRT: headers ${TensorRT_VERSION} (${TensorRT_INCLUDE_DIR}), ${TensorRT_LIBRARY}")

if(NOT TARGET CUDA::cudart_static)
  find_path(STPL_RT_CUDART_INCLUDE_DIR cuda_runtime_api.h HINTS ${CUDAToolkit_ROOT} $ENV{CUDA_HOME}
            PATHS /usr/local/cuda "${PROJECT_SOURCE_DIR}/.venv/cuda/nvidia/cu13"
            PATH_SUFFIXES include targets/x86_64-linux/include targets/aarch64-linux/include DOC "Folder of cuda_runtime_api.h")
  find_library(STPL_RT_CUDART libcudart_static.a HINTS ${CUDAToolkit_ROOT} $ENV{CUDA_HOME}
               PATHS /usr/local/cuda "${PROJECT_SOURCE_DIR}/.venv/cuda/nvidia/cu13"
               PATH_SUFFIXES lib lib64 targets/x86_64-linux/lib targets/aarch64-linux/lib DOC "CUDA's static runtime")
  if(NOT STPL_RT_CUDART_INCLUDE_DIR OR NOT STPL_RT_CUDART)
    message(FATAL_ERROR
      "The CUDA runtime was not found (cuda_runtime_api.h, libcudart_static.a). Install the CUDA toolkit, or the Python "
      "package nvidia-cuda-runtime, and pass -DCUDAToolkit_ROOT=<its folder with include/ and lib/>.")
  endif()
  add_library(CUDA::cudart_static STATIC IMPORTED GLOBAL)
  set_target_properties(CUDA::cudart_static PROPERTIES IMPORTED_LOCATION "${STPL_RT_CUDART}"
                                                       INTERFACE_INCLUDE_DIRECTORIES "${STPL_RT_CUDART_INCLUDE_DIR}"
                                                       INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};rt")
endif()
