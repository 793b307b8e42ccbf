// Moves planes along flow.
#pragma once

#include "core/image.h"
#include "core/simd.h"
#include "core/thread_pool.h"
#include "ops/compose.h"

namespace stpl_rt {

// out(c, y, x) = past(c, y + dy(y, x), x + dx(y, x)), bilinear, positions clamped to the border: what torch
// grid_sample(mode="bilinear", padding_mode="border", align_corners=True) gives. `past` and `out` are
// dense (channels, height, width) of the flow's size and do not overlap.
void warp(const float* past, int channels, const FlowField& flow, float* out, ThreadPool& pool);

}  // namespace stpl_rt
