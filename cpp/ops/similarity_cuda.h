// similarity.h on the GPU.
#pragma once

#include <cstdint>

#include "core/cuda/handles.h"
#include "ops/flow_cuda.h"
#include "ops/similarity.h"

namespace stpl_rt::cuda {

struct BlockMoments {
  float past, both;  // along flow
  float current;     // of either
  float in_place, both_in_place;
};

// What one comparison leaves: along the flow, and at the same place.
struct PairMoments {
  Moments along_flow, in_place;
};

inline constexpr int kSimilarityScratch = BlockSpread::kMaxBlocks;

// Writes to `out`, the device's or pinned, what to_similarity() takes, of BlockSpread(size).count blocks.
// `scratch`: kSimilarityScratch of the device's. Enqueues; throws Error(invalid_argument) where sizes differ.
void similarity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                const ConstFlowPlanes& flow, BlockMoments* scratch, PairMoments* out, StreamHandle stream);

}  // namespace stpl_rt::cuda
