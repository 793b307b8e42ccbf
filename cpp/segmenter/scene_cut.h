// Whether a frame continues the one before it.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "ops/compose.h"
#include "ops/similarity.h"

namespace stpl_rt {

// True where `current` does not show the scene of `past`, judged by how little of its structure is found
// there, be it along `flow` (current → past) or in place. All on the flow's grid.
bool is_scene_cut(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                  const FlowField& flow);
// The same from the two comparisons, where both are known.
bool is_scene_cut(const Similarity& along_flow, const Similarity& in_place);

}  // namespace stpl_rt
