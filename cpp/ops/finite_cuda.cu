#include <bit>

#include "core/cuda/launch.h"
#include "core/cuda/memory.h"
#include "ops/finite_cuda.h"

namespace stpl_rt::cuda {
namespace {

// By the bits: an exponent of ones only is infinity or NaN, whatever floating-point options say.
STPL_RT_INLINE bool is_finite(float value) {
  constexpr std::uint32_t kExponent = 0x7F800000U;
  return (std::bit_cast<std::uint32_t>(value) & kExponent) != kExponent;
}
STPL_RT_INLINE bool is_finite(Half value) {
  constexpr unsigned kExponent = 0x7C00U;
  return (value.bits & kExponent) != kExponent;
}

constexpr int kPerLane = 32;

template <class T>
struct CountNotFinite {
  const T* values;
  std::size_t size;
  int* count;

  STPL_RT_KERNEL void operator()(const Warp& warp, int chunk, int /*y*/) const {
    const std::size_t first = static_cast<std::size_t>(chunk) * kPerLane * kWarpLanes;
    const int found = warp.sum<int, int>([&](int lane) {
      int own = 0;
#pragma unroll 8
      for (int i = 0; i < kPerLane; ++i) {
        const std::size_t at =
            first + static_cast<std::size_t>(i) * kWarpLanes + static_cast<std::size_t>(lane);
        if (at < size && !is_finite(values[at])) ++own;
      }
      return own;
    });
    if (found > 0) warp.one(0, [&](int) { add_atomically(count, found); });
  }
};

}  // namespace

template <class T>
void count_not_finite(const T* values, std::size_t size, int* count, StreamHandle stream) {
  constexpr std::size_t kChunk = std::size_t{kPerLane} * kWarpLanes;
  set_bytes(count, 0, sizeof(*count), stream);
  for_each_warp(CountNotFinite<T>{values, size, count}, {static_cast<int>((size + kChunk - 1) / kChunk), 1},
                stream);
}

template void count_not_finite(const float*, std::size_t, int*, StreamHandle);
template void count_not_finite(const Half*, std::size_t, int*, StreamHandle);

}  // namespace stpl_rt::cuda
