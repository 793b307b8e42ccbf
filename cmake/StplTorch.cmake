# PyTorch's C++ library, as the Python package of Python_EXECUTABLE has it. Not through its own CMake package: that wants
# CUDA's compiler and more, of which nothing is used here.
stpl_python_package(stpl_torch_root torch)
if(NOT stpl_torch_root)
  message(FATAL_ERROR "STPL_RT_INDUCTOR=ON wants the Python package torch for ${Python_EXECUTABLE}: pip install torch, or "
                      "pass -DPython_EXECUTABLE=<a python that has it>.")
endif()
message(STATUS "PyTorch's library: ${stpl_torch_root}")

set(stpl_torch_libraries torch torch_cpu c10)
if(EXISTS "${stpl_torch_root}/lib/libtorch_cuda.so")
  list(APPEND stpl_torch_libraries torch_cuda c10_cuda)
endif()
add_library(stpl_torch INTERFACE)
target_include_directories(stpl_torch SYSTEM INTERFACE "${stpl_torch_root}/include")
target_link_directories(stpl_torch INTERFACE "${stpl_torch_root}/lib")
# What it has for GPUs registers itself when it is loaded; nothing calls it by name.
target_link_options(stpl_torch INTERFACE "LINKER:--no-as-needed" "LINKER:-rpath,${stpl_torch_root}/lib")
target_link_libraries(stpl_torch INTERFACE ${stpl_torch_libraries})
