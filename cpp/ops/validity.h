// The arithmetic of validity, one pixel at a time.
#pragma once

#include "core/simd.h"

namespace stpl_rt {

// Residuals, in grey levels of 255. Up to kPhotometricGood is what sensor noise, compression and the rounding
// of sub-pixel motion leave on pixels followed rightly; beyond kPhotometricBad the two pixels
// are different things, not one thing in other light.
inline constexpr float kPhotometricGood = 8.F;
inline constexpr float kPhotometricBad = 40.F;
// Distance beyond the outermost pixel centres, in flow-grid pixels: half a pixel is still inside the frame,
// and flow is good to about another one.
inline constexpr float kOutsideGood = 0.5F;
inline constexpr float kOutsideBad = 1.5F;
// Divergence of the latest flow, relative change of area. Driving forwards gives a few hundredths a frame
// everywhere; at -1 a whole neighbourhood comes from one point, so most of it was hidden before.
inline constexpr float kDivergenceGood = -0.25F;
inline constexpr float kDivergenceBad = -0.75F;

// There and back again along two flows must end where it began, but for what flow is good to: half a pixel
// squared, and a hundredth of the squared lengths. Sundaram, Brox, Keutzer, "Dense Point Trajectories by
// GPU-accelerated Large Displacement Optical Flow", ECCV 2010, equation 5. Nothing is left of the trust at
// twice that distance.
inline constexpr float kReturnBase = 0.5F;
inline constexpr float kReturnShare = 0.01F;
inline constexpr float kReturnGood = 1.F;
inline constexpr float kReturnBad = 4.F;

// 1 at `good`, 0 at `bad`, linear between, whichever is larger. NaN gives 0.
STPL_RT_INLINE float ramp(float value, float good, float bad) {
  const float v = (bad - value) * (1.F / (bad - good));
  const float low = v > 0.F ? v : 0.F;
  return low < 1.F ? low : 1.F;
}

STPL_RT_INLINE float smaller(float a, float b) { return a < b ? a : b; }

// How far x lies outside [0, last].
STPL_RT_INLINE float distance_outside(float x, float last) {
  const float before = -x;
  const float after = x - last;
  const float most = before > after ? before : after;
  return most > 0.F || most != most ? most : 0.F;  // NaN stays NaN: it is nowhere
}

STPL_RT_INLINE float pixel_validity(float carried, float residual, float outside_x, float outside_y,
                                    float divergence) {
  const float photometric = ramp(residual, kPhotometricGood, kPhotometricBad);
  const float inside =
      smaller(ramp(outside_x, kOutsideGood, kOutsideBad), ramp(outside_y, kOutsideGood, kOutsideBad));
  const float shown = ramp(divergence, kDivergenceGood, kDivergenceBad);
  return smaller(smaller(carried, photometric), smaller(inside, shown));
}

// Of flow (dx, dy), and the flow back (back_x, back_y) from where it leads.
STPL_RT_INLINE float pixel_return(float dx, float dy, float back_x, float back_y) {
  const float off_x = dx + back_x;
  const float off_y = dy + back_y;
  const float lengths = dx * dx + dy * dy + back_x * back_x + back_y * back_y;
  const float off = (off_x * off_x + off_y * off_y) / (kReturnShare * lengths + kReturnBase);
  return ramp(off, kReturnGood, kReturnBad);
}

}  // namespace stpl_rt
