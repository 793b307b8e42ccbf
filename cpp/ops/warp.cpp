#include "ops/warp.h"

#include <cstddef>
#include <limits>
#include <string>

#include "ops/row_positions.h"

namespace stpl_rt {
namespace {

STPL_RT_MULTIVERSION
void read_row(const float* plane, const int* offset, const float* weight_x, const float* weight_y, int right,
              int down, int width, float* out) {
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    out[x] = read_bilinear(plane + offset[x], right, down, weight_x[x], weight_y[x]);
  }
}

}  // namespace

void warp(const float* past, int channels, const FlowField& flow, float* out, ThreadPool& pool) {
  const Size size = flow.size();
  const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(size.width) * size.height;
  if (past == nullptr || out == nullptr || channels < 1 || area < 1 ||
      area > std::numeric_limits<int>::max()) {
    throw Error(ErrorCode::invalid_argument,
                "warp: expected planes of 1x1 to 2^31 - 1 pixels, found " + std::to_string(channels) +
                    " of " + std::to_string(size.width) + "x" + std::to_string(size.height));
  }
  const ReadSteps<const float> steps({past, size.width, size.height, size.width});
  pool.parallel_for(size.height, 4, [&](int begin, int end) {
    const RowPositions at = RowPositions::make(size.width);
    for (int y = begin; y < end; ++y) {
      locate_row(flow.dx.row(y), flow.dy.row(y), y, size, at);
      int* const offset = at.index_x;
      for (int x = 0; x < size.width; ++x) offset[x] += at.index_y[x] * size.width;
      for (int c = 0; c < channels; ++c) {
        float* row = out + c * area + static_cast<std::ptrdiff_t>(y) * size.width;
        read_row(past + c * area, offset, at.weight_x, at.weight_y, steps.right, steps.down, size.width, row);
      }
    }
  });
}

}  // namespace stpl_rt
