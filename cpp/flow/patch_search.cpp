#include "flow/patch_search.h"

#include <algorithm>
#include <cstdint>

#include "flow/lanes.h"

namespace stpl_rt {
namespace {

// What stays the same over all looks at one patch of the current image. The gradient lacks its mean.
struct Patch {
  Float8 value[kMaxPatchSize * kMaxPatchSize / kLanes];
  Float8 gradient_x[kMaxPatchSize * kMaxPatchSize / kLanes];
  Float8 gradient_y[kMaxPatchSize * kMaxPatchSize / kLanes];
  InverseHessian inverse = {};
  float count;
  int x, y;
};

// Ones in the lanes of block `block` that belong to a patch of `size` columns.
STPL_RT_INLINE void lane_mask(int block, int size, Float8& out) {
  for (int lane = 0; lane < kLanes; ++lane) out[lane] = block * kLanes + lane < size ? 1.F : 0.F;
}

STPL_RT_INLINE void take_gradients(const PatchGrid& grid, int size, Patch& patch) {
  const int blocks = (size + kLanes - 1) / kLanes;
  const std::ptrdiff_t stride = grid.current.stride;
  Float8 sum_x = {}, sum_y = {};
  for (int j = 0; j < size; ++j) {
    for (int b = 0; b < blocks; ++b) {
      const float* at = grid.current.row(patch.y + j) + patch.x + b * kLanes;
      Float8 left, right, above, below;
      load(at - 1, left);
      load(at + 1, right);
      load(at - stride, above);
      load(at + stride, below);
      const int i = j * blocks + b;
      patch.gradient_x[i] = 0.5F * (right - left);
      patch.gradient_y[i] = 0.5F * (below - above);
      if (size % kLanes != 0) {
        Float8 mask;
        lane_mask(b, size, mask);
        patch.gradient_x[i] *= mask;
        patch.gradient_y[i] *= mask;
      }
      sum_x += patch.gradient_x[i];
      sum_y += patch.gradient_y[i];
    }
  }
  float sums[4];
  sum_lanes(sum_x, sum_y, sum_x, sum_y, sums);
  const float mean_x = sums[0] / patch.count;
  const float mean_y = sums[1] / patch.count;
  for (int i = 0; i < size * blocks; ++i) {
    patch.gradient_x[i] -= mean_x;
    patch.gradient_y[i] -= mean_y;
    if (size % kLanes != 0) {
      Float8 mask;
      lane_mask(i % blocks, size, mask);
      patch.gradient_x[i] *= mask;
      patch.gradient_y[i] *= mask;
    }
  }
}

STPL_RT_INLINE void take_hessian(int size, Patch& patch) {
  const int blocks = (size + kLanes - 1) / kLanes;
  Float8 xx = {}, xy = {}, yy = {};
  for (int i = 0; i < size * blocks; ++i) {
    xx += patch.gradient_x[i] * patch.gradient_x[i];
    xy += patch.gradient_x[i] * patch.gradient_y[i];
    yy += patch.gradient_y[i] * patch.gradient_y[i];
  }
  float sums[4];
  sum_lanes(xx, xy, yy, yy, sums);
  patch.inverse = invert_hessian(sums[0], sums[1], sums[2], patch.count);
}

// Ones in the lanes of block `block` whose column, of `size` from `first` on, lies inside `extent`.
STPL_RT_INLINE void visible_lanes(int block, int size, float first, int extent, Float8& out) {
  lane_mask(block, size, out);
  for (int lane = 0; lane < kLanes; ++lane) {
    if (!is_inside(first + static_cast<float>(block * kLanes + lane), extent)) out[lane] = 0.F;
  }
}

// What a look is for: the cost alone, or the next step as well.
enum class Wanted : std::uint8_t { cost, step };

// The sums of PatchSums, lane by lane.
struct LaneSums {
  Float8 d = {}, dd = {}, gx = {}, gy = {}, gx_d = {}, gy_d = {}, count = {};

  STPL_RT_INLINE void add(const Float8& difference) {
    d += difference;
    dd += difference * difference;
  }
  STPL_RT_INLINE void add_gradient(const Float8& difference, const Float8& gradient_x,
                                   const Float8& gradient_y) {
    gx += gradient_x;
    gy += gradient_y;
    gx_d += gradient_x * difference;
    gy_d += gradient_y * difference;
  }
  [[nodiscard]] STPL_RT_INLINE PatchSums total() const {
    float sums[4], others[4];
    sum_lanes(d, dd, gx_d, gy_d, sums);
    sum_lanes(gx, gy, count, count, others);
    return {sums[0], sums[1], others[0], others[1], sums[2], sums[3], others[2]};
  }
  [[nodiscard]] STPL_RT_INLINE PatchSums total_cost() const {
    float sums[4];
    sum_lanes(d, dd, count, count, sums);
    return {sums[0], sums[1], 0.F, 0.F, 0.F, 0.F, sums[2]};
  }
};

// `masked`: leaves out what lies outside the past image or the patch.
STPL_RT_INLINE PatchSums compare(const PatchGrid& grid, int size, bool masked, Wanted wanted,
                                 const Patch& patch, const LinearTap& column, const LinearTap& row) {
  const int blocks = (size + kLanes - 1) / kLanes;
  LaneSums sums;
  for (int b = 0; b < blocks; ++b) {
    const float* at = grid.past.row(row.index) + column.index + b * kLanes;
    Float8 mask, left, right;
    if (masked) visible_lanes(b, size, position(column), grid.past.width, mask);
    load(at, left);
    load(at + 1, right);
    Float8 upper_slope = right - left;
    Float8 upper = left + column.weight * upper_slope;
    for (int j = 0; j < size; ++j) {
      at += grid.past.stride;
      load(at, left);
      load(at + 1, right);
      const Float8 lower_slope = right - left;
      const Float8 lower = left + column.weight * lower_slope;
      const Float8 past_gy = lower - upper;
      const Float8 past_gx = upper_slope + row.weight * (lower_slope - upper_slope);
      const int i = j * blocks + b;
      Float8 d = upper + row.weight * past_gy - patch.value[i];
      upper = lower;
      upper_slope = lower_slope;
      if (masked) {
        if (!is_inside(position(row) + static_cast<float>(j), grid.past.height)) continue;
        d *= mask;
        sums.count += mask;
      }
      sums.add(d);
      if (wanted == Wanted::cost) continue;
      Float8 gx = kCurrentGradient * patch.gradient_x[i] + kPastGradient * past_gx;
      Float8 gy = kCurrentGradient * patch.gradient_y[i] + kPastGradient * past_gy;
      if (masked) {
        gx *= mask;
        gy *= mask;
      }
      sums.add_gradient(d, gx, gy);
    }
  }
  PatchSums total = wanted == Wanted::cost ? sums.total_cost() : sums.total();
  if (!masked) total.count = patch.count;
  return total;
}

STPL_RT_INLINE PatchFlow look(const PatchGrid& grid, int size, Wanted wanted, const Patch& patch, float u,
                              float v) {
  const LinearTap column = bordered_tap(static_cast<float>(patch.x) + u, grid.past.width, grid.border);
  const LinearTap row = bordered_tap(static_cast<float>(patch.y) + v, grid.past.height, grid.border);
  const float last = static_cast<float>(size - 1);
  const bool whole = size % kLanes == 0 && is_inside(position(column), grid.past.width) &&
                     is_inside(position(column) + last, grid.past.width) &&
                     is_inside(position(row), grid.past.height) &&
                     is_inside(position(row) + last, grid.past.height);
  const PatchSums sums = whole ? compare(grid, size, false, wanted, patch, column, row)
                               : compare(grid, size, true, wanted, patch, column, row);
  return assess(u, v, sums, patch.inverse, patch.count);
}

// Makes `patch` that of `column` and `row`: its values, which is all that a look at the cost needs.
STPL_RT_INLINE void place(const PatchGrid& grid, int size, int column, int row, Patch& patch) {
  const int blocks = (size + kLanes - 1) / kLanes;
  patch.x = patch_origin(column, grid.current.width, size, grid.stride);
  patch.y = patch_origin(row, grid.current.height, size, grid.stride);
  patch.count = static_cast<float>(size * size);
  for (int i = 0; i < size * blocks; ++i) {
    load(grid.current.row(patch.y + i / blocks) + patch.x + i % blocks * kLanes, patch.value[i]);
  }
}

// Steps while the cost does not rise. Whoever strays by more than a patch has lost the structure: back to the
// start.
STPL_RT_INLINE PatchFlow descend(const PatchGrid& grid, int size, const Patch& patch, const PatchFlow& start,
                                 int steps) {
  PatchFlow best = start;
  for (int i = 0; i < steps && !is_negligible(best.du, best.dv); ++i) {
    const PatchFlow next = look(grid, size, Wanted::step, patch, best.u + best.du, best.v + best.dv);
    if (!(next.cost < kTolerance * best.cost)) {
      best.du = best.dv = 0.F;
      break;
    }
    best = next;
  }
  if (farther_than(best.u - start.u, best.v - start.v, static_cast<float>(size))) {
    best = start;
    best.du = best.dv = 0.F;
  }
  return best;
}

STPL_RT_INLINE float read_coarser(ImageView<const float> plane, float x, float y) {
  const LinearTap column = linear_tap(coarser_position(x), plane.width);
  const LinearTap row = linear_tap(coarser_position(y), plane.height);
  const float* upper = plane.row(row.index) + column.index;
  const float* lower = upper + (plane.height > 1 ? plane.stride : 0);
  const int right = plane.width > 1 ? 1 : 0;
  return mix(mix(upper[0], upper[right], column.weight), mix(lower[0], lower[right], column.weight),
             row.weight);
}

STPL_RT_INLINE void start_sized(const PatchGrid& grid, int size, const CoarserFlow& coarser, int steps,
                                int begin, int end, PatchFlow* out) {
  const int columns = grid.columns();
  const float half = 0.5F * static_cast<float>(size - 1);
  Patch patch;
  for (int row = begin; row < end; ++row) {
    for (int column = 0; column < columns; ++column) {
      place(grid, size, column, row, patch);
      take_gradients(grid, size, patch);
      take_hessian(size, patch);
      float u = 0.F, v = 0.F;
      if (!coarser.dx.empty()) {
        const float x = static_cast<float>(patch.x) + half;
        const float y = static_cast<float>(patch.y) + half;
        u = 2.F * read_coarser(coarser.dx, x, y);
        v = 2.F * read_coarser(coarser.dy, x, y);
      }
      const PatchFlow start = look(grid, size, Wanted::step, patch, u, v);
      out[row * columns + column] = descend(grid, size, patch, start, steps);
    }
  }
}

// The best of a patch's own flow and its neighbours'. Left out are those that stayed in the last round, who
// were looked at before and refused, and those that say the same. Looks at the patch's values alone.
STPL_RT_INLINE PatchFlow best_around(const PatchGrid& grid, int size, const PatchFlow* in, int column,
                                     int row, const Patch& patch) {
  const int columns = grid.columns();
  const PatchFlow& own = in[row * columns + column];
  PatchFlow best = own;
  for (int y = std::max(row - 1, 0); y <= std::min(row + 1, grid.rows() - 1); ++y) {
    for (int x = std::max(column - 1, 0); x <= std::min(column + 1, columns - 1); ++x) {
      const PatchFlow& other = in[y * columns + x];
      if (!other.moved || !farther_than(other.u - own.u, other.v - own.v, kSameFlow)) continue;
      const PatchFlow found = look(grid, size, Wanted::cost, patch, other.u, other.v);
      if (found.cost < best.cost) best = found;
    }
  }
  return best;
}

STPL_RT_INLINE PatchFlow improved(const PatchGrid& grid, int size, const PatchFlow* in, int column, int row,
                                  int steps, Patch& patch) {
  const PatchFlow& own = in[row * grid.columns() + column];
  if (is_lost(own)) return own;
  place(grid, size, column, row, patch);
  PatchFlow best = best_around(grid, size, in, column, row, patch);
  if (is_same_flow(best, own) && is_negligible(own.du, own.dv)) return own;
  take_gradients(grid, size, patch);
  take_hessian(size, patch);
  if (!is_same_flow(best, own)) best = look(grid, size, Wanted::step, patch, best.u, best.v);
  return descend(grid, size, patch, best, steps);
}

STPL_RT_INLINE void improve_sized(const PatchGrid& grid, int size, const PatchFlow* in, int steps, int begin,
                                  int end, PatchFlow* out) {
  const int columns = grid.columns();
  Patch patch;
  for (int row = begin; row < end; ++row) {
    for (int column = 0; column < columns; ++column) {
      const PatchFlow& own = in[row * columns + column];
      PatchFlow& result = out[row * columns + column];
      result = improved(grid, size, in, column, row, steps, patch);
      result.moved = !is_same_flow(result, own);
    }
  }
}

}  // namespace

// The usual size is handed down as a constant, so that its loops unroll and its masks vanish.
STPL_RT_MULTIVERSION
void start_patches(const PatchGrid& grid, const CoarserFlow& coarser, int steps, int begin, int end,
                   PatchFlow* out) {
  if (grid.size == kLanes) {
    start_sized(grid, kLanes, coarser, steps, begin, end, out);
  } else {
    start_sized(grid, grid.size, coarser, steps, begin, end, out);
  }
}

STPL_RT_MULTIVERSION
void improve_patches(const PatchGrid& grid, const PatchFlow* in, int steps, int begin, int end,
                     PatchFlow* out) {
  if (grid.size == kLanes) {
    improve_sized(grid, kLanes, in, steps, begin, end, out);
  } else {
    improve_sized(grid, grid.size, in, steps, begin, end, out);
  }
}

void smooth_patches(const PatchGrid& grid, const PatchFlow* in, int begin, int end, PatchFlow* out) {
  const int columns = grid.columns();
  const int rows = grid.rows();
  for (int row = begin; row < end; ++row) {
    for (int column = 0; column < columns; ++column) {
      out[row * columns + column] = smoothed_patch(in, column, row, columns, rows);
    }
  }
}

}  // namespace stpl_rt
