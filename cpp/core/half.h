// Half-precision numbers (IEEE 754 binary16), as networks on GPUs give and take them.
#pragma once

#include <bit>
#include <cstdint>

#include "core/simd.h"

namespace stpl_rt {

struct Half {
  std::uint16_t bits;
};

STPL_RT_INLINE float to_float(float value) { return value; }

STPL_RT_INLINE float to_float(Half value) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#else
  const std::uint32_t sign = (value.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = value.bits & 0x7FFFU;
  if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13);
  // As a float with the exponent of a half; the product sets the exponent right, also of denormals.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(scaled));
#endif
}

template <class T>
T from_float(float value) = delete;

template <>
STPL_RT_INLINE float from_float<float>(float value) {
  return value;
}

// To the nearest, of two equally near ones to the even.
template <>
STPL_RT_INLINE Half from_float<Half>(float value) {
#if defined(__CUDA_ARCH__)
  Half result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  std::uint32_t half = 0;
  if (magnitude > 0x7F800000U) {
    half = 0x7E00U;
  } else if (magnitude >= 0x477FF000U) {
    half = 0x7C00U;  // 65520 and more round to infinity
  } else if (magnitude >= 0x38800000U) {
    half = (magnitude - 0x38000000U + 0xFFFU + (magnitude >> 13 & 1U)) >> 13;
  } else {
    // Adding 1/2 leaves a denormal half's bits at the end of the sum, rounded by the addition itself.
    const float sum = std::bit_cast<float>(magnitude) + 0.5F;
    half = std::bit_cast<std::uint32_t>(sum) - std::bit_cast<std::uint32_t>(0.5F);
  }
  return {static_cast<std::uint16_t>(sign | half)};
#endif
}

}  // namespace stpl_rt
