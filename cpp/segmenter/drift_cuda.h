// drift.h on the GPU.
#pragma once

#include <cstdint>

#include "core/cuda/handles.h"
#include "ops/flow_cuda.h"

namespace stpl_rt::cuda {

// One a row: as many as a grid can have.
inline constexpr int kDriftScratch = kMaxSide;

// Writes the drift to `out`, the device's or pinned. `scratch`: kDriftScratch of the device's. Enqueues;
// throws Error(invalid_argument) where sizes differ. `validity` empty: all is valid.
void drift(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> key,
           const ConstFlowPlanes& flow, ImageView<const float> validity, float* scratch, double* out,
           StreamHandle stream);

}  // namespace stpl_rt::cuda
