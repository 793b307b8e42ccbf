// CUDA's handles by their own names, so that headers need not include CUDA's.
#pragma once

#include <cstdint>

struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace stpl_rt::cuda {

using StreamHandle = CUstream_st*;    // cudaStream_t
using EventHandle = CUevent_st*;      // cudaEvent_t
using GraphHandle = CUgraphExec_st*;  // cudaGraphExec_t

// cudaStreamPerThread: another stream for every thread that names it.
inline StreamHandle per_thread_stream() noexcept {
  return reinterpret_cast<StreamHandle>(std::uintptr_t{2});  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace stpl_rt::cuda
