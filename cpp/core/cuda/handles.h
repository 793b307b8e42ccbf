// CUDA's handles by their own names, so that headers need not include CUDA's.
#pragma once

struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace stpl_rt::cuda {

using StreamHandle = CUstream_st*;    // cudaStream_t
using EventHandle = CUevent_st*;      // cudaEvent_t
using GraphHandle = CUgraphExec_st*;  // cudaGraphExec_t

}  // namespace stpl_rt::cuda
