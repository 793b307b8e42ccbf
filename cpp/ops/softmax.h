// Exponentials and confidence in plain arithmetic, so that loops over pixels vectorise and the CPU and
// the GPU agree.
#pragma once

#include <bit>

#include "core/simd.h"
#include "ops/bilinear.h"

namespace stpl_rt {

// exp(x) for x in [-87, 0], relative error below 3e-6; what lies outside is clamped, NaN gives exp(-87). The
// argument is split into a whole power of two and a rest in [-ln2/2, ln2/2], where a Taylor polynomial of
// degree 5 is enough. A GPU has an instruction for powers of two, of at least that precision; what is above 0
// is not clamped there.
STPL_RT_INLINE float exp_nonpositive(float x) {
  constexpr float kLog2E = 1.44269504F;
#if defined(__CUDA_ARCH__)
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"((x > -87.F ? x : -87.F) * kLog2E));
  return result;
#else
  constexpr float kLn2 = 0.693147181F;
  const float bounded = clamp_coordinate(x, -87.F, 0.F);
  const float power = bounded * kLog2E;
  const int whole = static_cast<int>(power - 0.5F);  // towards zero: rounds, for what is not positive
  const float r = (power - static_cast<float>(whole)) * kLn2;
  const float p = 1.F + r * (1.F + r * (0.5F + r * (1.F / 6.F + r * (1.F / 24.F + r * (1.F / 120.F)))));
  const float scale = std::bit_cast<float>((whole + 127) << 23);
  return p * scale;
#endif
}

// 1 / x for sums of such exponentials.
STPL_RT_INLINE float reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  float result;  // wrong in the last bit at most; an exact division is ten instructions and a branch
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return 1.F / x;
#endif
}

// round(255 * probability * validity) with everything out of [0, 1] (and NaN) brought back into it.
STPL_RT_INLINE int confidence_byte(float probability, float validity) {
  float value = probability * validity;
  value = value > 0.F ? value : 0.F;
  value = value < 1.F ? value : 1.F;
  return static_cast<int>(255.F * value + 0.5F);
}

}  // namespace stpl_rt
