// How much of a frame its key frame no longer explains.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "core/simd.h"
#include "ops/compose.h"

namespace stpl_rt {

// Of one pixel, 0 to 1: how far it has come, in sides of the picture, and by how much it differs from what
// the key frame shows there. Chosen on generated video (synthstreet at dusk, by day and in rain, 8 to 30
// frames a second, up to 11 frames from the key frame): of motion, residual, validity, divergence and age,
// the sum of these two with these weights follows the share of labels that differ from the network's best
// (correlation 0.94). With the forward-backward check, what it leaves no trust in counts as unexplained.
STPL_RT_INLINE float pixel_drift(float moved_x, float moved_y, float residual, float validity) {
  constexpr float kResidual = 20;  // grey levels: beyond what light and noise do
  constexpr float kUnexplained = 0.6F;
  constexpr float kTrusted = 0.5F;
  const float across = moved_x < 0.F ? -moved_x : moved_x;
  const float down = moved_y < 0.F ? -moved_y : moved_y;
  const float moved = across < down ? down : across;
  const bool unexplained = residual > kResidual || residual < -kResidual || validity < kTrusted;
  const float sum = moved + (unexplained ? kUnexplained : 0.F);
  return sum < 1.F ? sum : 1.F;
}

// Pixels from one to the next of those that are looked at.
int drift_spacing(Size size);

// 0 to 1: the mean over the picture of what speaks against a carried label: how far it has come along `flow`
// (t → key), in sides of the picture, for flow adds up its errors as it goes and what lies far away was seen
// at another size, from another side; and whether the key frame shows something else there. What lies
// outside of the key frame is compared with its border, which reads are clamped to: of uncovered picture only
// what differs from that counts. A spread of at most 16 thousand pixels, so that the time is the same for all
// sizes. `validity`, of `flow`: what is not valid counts as unexplained, too; empty: all is. All of one size.
double drift(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> key, const FlowField& flow,
             ImageView<const float> validity = {});

}  // namespace stpl_rt
