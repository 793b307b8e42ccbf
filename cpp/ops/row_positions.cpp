#include "ops/row_positions.h"

namespace stpl_rt {

RowPositions RowPositions::make(int width) {
  static thread_local AlignedBuffer<int> indices;
  static thread_local AlignedBuffer<float> weights;
  indices.reserve(2 * static_cast<std::size_t>(width));
  weights.reserve(2 * static_cast<std::size_t>(width));
  return {indices.data(), indices.data() + width, weights.data(), weights.data() + width};
}

STPL_RT_MULTIVERSION
void locate_row(const float* dx, const float* dy, int y, Size size, const RowPositions& out) {
  int* const index_x = out.index_x;
  int* const index_y = out.index_y;
  float* const weight_x = out.weight_x;
  float* const weight_y = out.weight_y;
  const int width = size.width, height = size.height;
  const auto y_from = static_cast<float>(y);
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const LinearTap tx = linear_tap(static_cast<float>(x) + dx[x], width);
    const LinearTap ty = linear_tap(y_from + dy[x], height);
    index_x[x] = tx.index;
    index_y[x] = ty.index;
    weight_x[x] = tx.weight;
    weight_y[x] = ty.weight;
  }
}

}  // namespace stpl_rt
