// From a camera frame to the network's input, and to the luma that flow is computed on.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/flow.h>
#include <stpl_rt/frame.h>

#include <cstdint>

#include "core/image.h"
#include "core/simd.h"
#include "core/thread_pool.h"

namespace stpl_rt {

// value in 0..255 → network input
STPL_RT_INLINE float normalize(float value, float mean, float inverse_std) {
  return (value - mean) * inverse_std;
}

// 256 times the luma (BT.601 weights in 8 bits), in 0..65280.
STPL_RT_INLINE int luma256(int red, int green, int blue) { return 77 * red + 150 * green + 29 * blue; }

// Throws Error(invalid_argument) unless the frame can be read: data, a size, a stride at least a row long.
void check_frame(const Frame& frame);
// Throws Error(invalid_argument) unless something can be made of it: a size, std > 0.
void check_input(const InputSpec& spec);

// Look-up table on the bytes, resize, normalise. `out` takes 3 dense planes of spec.height * spec.width in
// spec.color_order; letterbox padding is 0 (the mean). Bilinear samples at half-pixel centres without
// antialiasing (torch interpolate, align_corners=False); area averages boxes on axes that shrink and is
// bilinear on the others. A frame of the content's size is not resampled.
void preprocess(const Frame& frame, const InputSpec& spec, float* out, ThreadPool& pool);

// Throws Error(invalid_argument) for an input or a grid without pixels.
void check_luma(const InputSpec& spec, Size grid);

// Luma of the uncalibrated frame on a grid that covers the same extent as the network's input, with area
// averaging where it shrinks. Letterbox padding repeats the frame's border: a hard edge would hold the flow.
void luma(const Frame& frame, const InputSpec& spec, ImageView<std::uint8_t> out, ThreadPool& pool);

}  // namespace stpl_rt
