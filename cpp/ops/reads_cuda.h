// Bilinear reads that flow displaces, for kernels.
#pragma once

#include "core/image.h"
#include "core/simd.h"
#include "ops/bilinear.h"
#include "ops/flow_cuda.h"
#include "ops/row_positions.h"

namespace stpl_rt::cuda {

// Where a pixel reads in an image.
struct ReadPosition {
  LinearTap column, row;

  template <class T>
  [[nodiscard]] STPL_RT_INLINE float read(const ImageView<T>& image) const {
    const std::ptrdiff_t right = image.width > 1 ? 1 : 0;
    const std::ptrdiff_t down = image.height > 1 ? image.stride : 0;
    return read_bilinear(image.row(row.index) + column.index, right, down, column.weight, row.weight);
  }
};

// (x, y) moved by (dx, dy), clamped to an image of this size.
STPL_RT_INLINE ReadPosition displaced(int x, int y, float dx, float dy, Size size) {
  return {linear_tap(static_cast<float>(x) + dx, size.width),
          linear_tap(static_cast<float>(y) + dy, size.height)};
}

}  // namespace stpl_rt::cuda
