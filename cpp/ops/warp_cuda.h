// warp.h on the GPU.
#pragma once

#include "core/cuda/handles.h"
#include "core/half.h"
#include "ops/flow_cuda.h"

namespace stpl_rt::cuda {

// `past` and `out`: the device's, dense (channels, height, width) of the flow's size, not overlapping. T:
// float or Half. Enqueues; throws Error(invalid_argument) for planes without pixels.
template <class T>
void warp(const T* past, int channels, const ConstFlowPlanes& flow, T* out, StreamHandle stream);

}  // namespace stpl_rt::cuda
