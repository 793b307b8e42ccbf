#include "flow/densify.h"

#include <algorithm>

#include "flow/lanes.h"
#include "ops/linear_row.h"

namespace stpl_rt {
namespace {

struct Row {
  float *dx, *dy, *weight;
};

// Adds to one row of pixels what one patch says of it; `at` is the patch's first pixel in that row.
STPL_RT_INLINE void add_patch_row(const PatchGrid& grid, int size, const PatchFlow& flow, int x, int y,
                                  const Float8* window_x, float window_y, const Row& out) {
  const LinearTap column = bordered_tap(static_cast<float>(x) + flow.u, grid.past.width, grid.border);
  const LinearTap row = bordered_tap(static_cast<float>(y) + flow.v, grid.past.height, grid.border);
  const float* upper = grid.past.row(row.index) + column.index;
  const float* lower = upper + grid.past.stride;
  for (int b = 0; b * kLanes < size; ++b) {
    const int i = b * kLanes;
    Float8 a, a1, c, c1, here, dx, dy, weight;
    load(upper + i, a);
    load(upper + i + 1, a1);
    load(lower + i, c);
    load(lower + i + 1, c1);
    load(grid.current.row(y) + x + i, here);
    a += column.weight * (a1 - a);
    c += column.weight * (c1 - c);
    Float8 difference = a + row.weight * (c - a) - here;
    difference = difference < 0.F ? -difference : difference;
    difference = difference > 1.F ? difference : Float8{} + 1.F;
    const Float8 w = window_y * window_x[b] / difference;
    load(out.dx + x + i, dx);
    load(out.dy + x + i, dy);
    load(out.weight + x + i, weight);
    store(dx + w * flow.u, out.dx + x + i);
    store(dy + w * flow.v, out.dy + x + i);
    store(weight + w, out.weight + x + i);
  }
}

STPL_RT_INLINE void densify_sized(const PatchGrid& grid, int size, const PatchFlow* patches, int begin,
                                  int end, ImageView<float> dx, ImageView<float> dy,
                                  ImageView<float> weight) {
  const int width = grid.current.width;
  const int height = grid.current.height;
  const int columns = grid.columns();
  Float8 window_x[kMaxPatchSize / kLanes] = {};
  for (int i = 0; i < size; ++i) window_x[i / kLanes][i % kLanes] = window(i, size);
  for (int y = begin; y < end; ++y) {
    const Row out = {dx.row(y), dy.row(y), weight.row(y)};
    std::fill_n(out.dx, width, 0.F);
    std::fill_n(out.dy, width, 0.F);
    std::fill_n(out.weight, width, 0.F);
    const PatchRange range = covering_patches(y, height, size, grid.stride);
    for (int row = range.first; row <= range.last; ++row) {
      const float window_y = window(y - patch_origin(row, height, size, grid.stride), size);
      for (int column = 0; column < columns; ++column) {
        add_patch_row(grid, size, patches[row * columns + column],
                      patch_origin(column, width, size, grid.stride), y, window_x, window_y, out);
      }
    }
#pragma omp simd
    for (int x = 0; x < width; ++x) {
      const float scale = 1.F / out.weight[x];
      out.dx[x] *= scale;
      out.dy[x] *= scale;
    }
  }
}

struct CellWeights {
  static constexpr int kMaxScale = 64;
  float left[kMaxScale], own[kMaxScale], right[kMaxScale];

  STPL_RT_INLINE explicit CellWeights(int scale) {
    for (int r = 0; r < scale; ++r) {
      const CellWeight weight = cell_weight(r, scale);
      left[r] = weight.left;
      own[r] = weight.own;
      right[r] = weight.right;
    }
  }
};

// cells[-1 .. count]: a row of cells, one more at either end. Where `scale` is a constant the loop over the
// cells is the vectors', with interleaved stores.
STPL_RT_INLINE void expand_cells(const float* cells, int count, int scale, const CellWeights& weights,
                                 float* out) {
  const CellWeights w = weights;  // a copy: `out` cannot alias it
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    for (int r = 0; r < scale; ++r) {
      out[i * scale + r] = cells[i - 1] * w.left[r] + cells[i] * w.own[r] + cells[i + 1] * w.right[r];
    }
  }
}

STPL_RT_INLINE void upsample_scaled(ImageView<const float> level, int scale, int begin, int end,
                                    ImageView<float> out) {
  static thread_local AlignedBuffer<float> buffer;
  const int count = level.width;
  buffer.reserve(static_cast<std::size_t>(count) + 2);
  float* cells = buffer.data() + 1;
  const float factor = static_cast<float>(scale);
  const CellWeights weights(scale);
  const int below = level.height > 1 ? 1 : 0;
  for (int y = begin; y < end; ++y) {
    const LinearTap tap = linear_tap((static_cast<float>(y) + 0.5F) / factor - 0.5F, level.height);
    mix_rows(level.row(tap.index), level.row(tap.index + below), tap.weight, count, cells);
    cells[-1] = cells[0];
    cells[count] = cells[count - 1];
    expand_cells(cells, count, scale, weights, out.row(y));
    std::fill(out.row(y) + count * scale, out.row(y) + out.width, factor * cells[count]);
  }
}

}  // namespace

STPL_RT_MULTIVERSION
void densify(const PatchGrid& grid, const PatchFlow* patches, int begin, int end, ImageView<float> dx,
             ImageView<float> dy, ImageView<float> weight) {
  if (grid.size == kLanes) {
    densify_sized(grid, kLanes, patches, begin, end, dx, dy, weight);
  } else {
    densify_sized(grid, grid.size, patches, begin, end, dx, dy, weight);
  }
}

STPL_RT_MULTIVERSION
void upsample(ImageView<const float> level, int scale, int begin, int end, ImageView<float> out) {
  if (scale == 2) {
    upsample_scaled(level, 2, begin, end, out);
  } else if (scale == 4) {
    upsample_scaled(level, 4, begin, end, out);
  } else {
    upsample_scaled(level, scale, begin, end, out);
  }
}

}  // namespace stpl_rt
