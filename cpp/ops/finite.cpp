#include "ops/finite.h"

#include <bit>
#include <cstdint>
#include <string>

#include "core/simd.h"

namespace stpl_rt {

// By the bits: an exponent of ones only is infinity or NaN, whatever floating-point options say.
STPL_RT_MULTIVERSION
std::size_t count_not_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7F800000U;
  const float* const data = values.data();
  const std::size_t size = values.size();
  std::size_t count = 0;
#pragma omp simd reduction(+ : count)
  for (std::size_t i = 0; i < size; ++i) {
    count += (std::bit_cast<std::uint32_t>(data[i]) & kExponent) == kExponent ? 1U : 0U;
  }
  return count;
}

bool all_finite(std::span<const float> values) { return count_not_finite(values) == 0; }

Error not_finite_error(std::size_t found, std::size_t size) {
  return {ErrorCode::engine,
          "the network's logits hold " + std::to_string(found) + " of " + std::to_string(size) +
              " values that are not finite (NaN or infinite); expected numbers: try precision \"f32\", or "
              "check the exported network"};
}

}  // namespace stpl_rt
