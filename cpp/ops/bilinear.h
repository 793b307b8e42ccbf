// The arithmetic of one bilinear read, shared by every kernel that samples.
#pragma once

#include "core/simd.h"

namespace stpl_rt {

// NaN becomes `low`: a coordinate that comes out of here can be converted to an integer.
STPL_RT_INLINE float clamp_coordinate(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}

// value(x) = mix(v[index], v[index + step], weight), where step is 1, or 0 for a single element.
struct LinearTap {
  int index;
  float weight;
};

// The taps of an axis of n elements. What many reads share: a kernel is given it.
struct TapRange {
  float last;
  int last_pair;
  STPL_RT_INLINE explicit TapRange(int n) : last(static_cast<float>(n - 1)), last_pair(n > 1 ? n - 2 : 0) {}
};

// Clamped to [0, n - 1]. The last element is reached as weight 1 of the last pair, so both reads stay inside.
STPL_RT_INLINE LinearTap linear_tap(float x, const TapRange& range) {
  x = clamp_coordinate(x, 0.F, range.last);
  int index = static_cast<int>(x);
  index = index < range.last_pair ? index : range.last_pair;
  return {index, x - static_cast<float>(index)};
}
STPL_RT_INLINE LinearTap linear_tap(float x, int n) { return linear_tap(x, TapRange(n)); }

STPL_RT_INLINE float mix(float a, float b, float weight) { return a * (1.F - weight) + b * weight; }

// The same read of two axes as one weighted sum: what many values at one place share.
struct BilinearWeights {
  float upper_left, upper_right, lower_left, lower_right;
};

STPL_RT_INLINE BilinearWeights bilinear_weights(float wx, float wy) {
  return {(1.F - wx) * (1.F - wy), wx * (1.F - wy), (1.F - wx) * wy, wx * wy};
}

STPL_RT_INLINE float blend(float upper_left, float upper_right, float lower_left, float lower_right,
                           const BilinearWeights& weights) {
  return upper_left * weights.upper_left + upper_right * weights.upper_right +
         lower_left * weights.lower_left + lower_right * weights.lower_right;
}

}  // namespace stpl_rt
