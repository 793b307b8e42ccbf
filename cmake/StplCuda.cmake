# CUDA: nvcc from where CMAKE_CUDA_COMPILER says, else from the path, else of an installed toolkit, else from NVIDIA's
# Python packages as scripts/cuda_toolkit.sh installs them. The CUDA runtime is linked statically: what we build needs the
# driver alone, and even that only when a GPU is asked for.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(STPL_RT_NVCC nvcc HINTS "${CUDAToolkit_ROOT}/bin" "$ENV{CUDA_HOME}/bin"
               PATHS /usr/local/cuda/bin "${PROJECT_SOURCE_DIR}/.venv/cuda/nvidia/cu13/bin" DOC "NVIDIA's compiler")
  if(NOT STPL_RT_NVCC)
    message(FATAL_ERROR
      "nvcc was not found. Install the CUDA toolkit (12.4 or later), or run scripts/cuda_toolkit.sh, which installs it from "
      "Python packages, and pass -DCMAKE_CUDA_COMPILER=<folder that it prints>/bin/nvcc; or configure with "
      "-DSTPL_RT_CUDA=OFF.")
  endif()
  set(CMAKE_CUDA_COMPILER "${STPL_RT_NVCC}")
endif()
# Machine code of 8.0, which later 8.x run, and of 9.0; on ARM of Orin's 8.7. For others the driver compiles PTX at the first
# use of each kernel, which takes seconds.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(stpl_architectures "80-real;90-real;90-virtual")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(stpl_architectures "87-real;87-virtual")
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "${stpl_architectures}" CACHE STRING "Compute capabilities to compile for, as in CMake's CUDA_ARCHITECTURES")
endif()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.4)
  message(FATAL_ERROR "CUDA 12.4 or later is needed, found ${CMAKE_CUDA_COMPILER_VERSION} (${CMAKE_CUDA_COMPILER}): pass "
                      "-DCMAKE_CUDA_COMPILER=<another nvcc>.")
endif()
# CMake before 3.25.2 does not know nvcc's C++20, which nvcc 12 has: JetPack 6 and Ubuntu 22.04 bring CMake 3.22.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
find_package(CUDAToolkit REQUIRED)
message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION}: ${CMAKE_CUDA_COMPILER}, for ${CMAKE_CUDA_ARCHITECTURES}")
