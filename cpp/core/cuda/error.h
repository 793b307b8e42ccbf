// What CUDA's calls return, as exceptions. For our own sources alone: it includes CUDA's header.
#pragma once

#include <cuda_runtime_api.h>

namespace stpl_rt::cuda {

[[noreturn]] void fail(cudaError_t status, const char* what);

// Throws Error(engine) with CUDA's own text; Error(unsupported) where no driver or device answers.
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail(status, what);
}

}  // namespace stpl_rt::cuda
