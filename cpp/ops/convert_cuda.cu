#include "core/cuda/launch.h"
#include "ops/convert_cuda.h"

namespace stpl_rt::cuda {
namespace {

constexpr int kRow = 1 << 12;  // numbers that are seen as a row of pixels

template <class T, class U>
struct Convert {
  const T* from;
  U* to;
  std::size_t count;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const std::size_t at = static_cast<std::size_t>(y) * kRow + static_cast<std::size_t>(x);
    if (at < count) to[at] = from_float<U>(to_float(from[at]));
  }
};

}  // namespace

template <class T, class U>
void convert(const T* from, U* to, std::size_t count, StreamHandle stream) {
  const std::size_t rows = (count + kRow - 1) / kRow;
  for_each_pixel(Convert<T, U>{from, to, count}, {kRow, static_cast<int>(rows)}, stream);
}

template void convert(const float*, Half*, std::size_t, StreamHandle);
template void convert(const Half*, float*, std::size_t, StreamHandle);

}  // namespace stpl_rt::cuda
