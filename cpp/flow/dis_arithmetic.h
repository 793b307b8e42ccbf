// The arithmetic of the flow search, one patch or pixel at a time, shared by every device.
#pragma once

#include <cmath>

#include "core/simd.h"
#include "ops/bilinear.h"

namespace stpl_rt {

STPL_RT_INLINE float box_mean(float a, float b, float c, float d) { return 0.25F * ((a + b) + (c + d)); }

// --- The grid of patches ---

// Patches along an axis of `extent` pixels (>= size) so that every pixel is covered.
STPL_RT_INLINE int patch_count(int extent, int size, int stride) {
  return 1 + (extent - size + stride - 1) / stride;
}
// First pixel of a patch; the last patch is moved back to end with the image.
STPL_RT_INLINE int patch_origin(int index, int extent, int size, int stride) {
  const int origin = index * stride;
  return origin < extent - size ? origin : extent - size;
}
// The patches that cover a pixel are `first` to `last`.
struct PatchRange {
  int first, last;
};
STPL_RT_INLINE PatchRange covering_patches(int pixel, int extent, int size, int stride) {
  const int first = pixel < size ? 0 : (pixel - size + stride) / stride;
  const int last = pixel >= extent - size ? patch_count(extent, size, stride) - 1 : pixel / stride;
  return {first, last};
}

// --- Reading a level that repeats its edge `border` pixels outwards ---

// value(x) = mix(v[index], v[index + 1], weight). Beyond `border` every pixel repeats the edge, so the
// position is clamped to there without changing what is read: a run of up to `border` pixels stays readable.
STPL_RT_INLINE LinearTap bordered_tap(float x, int extent, int border) {
  const float shifted =
      clamp_coordinate(x + static_cast<float>(border), 0.F, static_cast<float>(extent - 1 + border));
  const int index = static_cast<int>(shifted);
  return {index - border, shifted - static_cast<float>(index)};
}

STPL_RT_INLINE float position(const LinearTap& tap) { return static_cast<float>(tap.index) + tap.weight; }
// Whether the image of `extent` pixels, each half a pixel to either side of its centre, reaches to `x`.
STPL_RT_INLINE bool is_inside(float x, int extent) {
  return x >= -0.5F && x <= static_cast<float>(extent) - 0.5F;
}

// Position on the next coarser level of position `x`: pixels are halved, centres at integers.
STPL_RT_INLINE float coarser_position(float x) { return 0.5F * x - 0.25F; }

// --- The search on one level ---

// Rounds in which the patches descend; before each but the first they look at their neighbours.
constexpr int kRounds = 4;
// Gradient steps in one of the rounds, of `iterations` in all.
constexpr int steps_of_round(int iterations, int round) {
  return iterations * (round + 1) / kRounds - iterations * round / kRounds;
}

// Neighbours whose flow is this close to the patch's own, in pixels, are not tried: descent covers that.
constexpr float kSameFlow = 0.4F;

// Steps follow a mixture of both images' gradients. The current one's alone leaves an error away from whole
// pixels of shift, because reading the past between its pixels blurs it; the past one's errs the other way.
constexpr float kPastGradient = 0.25F;
constexpr float kCurrentGradient = 1.F - kPastGradient;

// A step may raise the cost by this factor: where the mixed gradient vanishes is not exactly where the cost
// is lowest, and who stops short of it keeps the coarser level's error, which neighbours share.
constexpr float kTolerance = 1.05F;

// --- Gauss-Newton on one patch ---

// Where a patch of the current image lies in the past one: moved by (u, v). `cost` is the sum of squared
// differences less their mean (a change of brightness costs nothing), (du, dv) the step that the linearised
// cost asks for next; zero where the search has ended. `moved`: the last round of the search changed (u, v).
struct PatchFlow {
  float u, v;
  float cost;
  float du, dv;
  bool moved = true;
};

// Sums over the `count` pixels of a patch that the past image shows: d = past - current, (gx, gy) the
// gradient that steps follow.
struct PatchSums {
  float d, dd, gx, gy, gx_d, gy_d;
  float count;
};

constexpr float kLostCost = 1e30F;

// Inverse of the Hessian [xx xy; xy yy] of the cost.
struct InverseHessian {
  float xx, xy, yy;
};

// xx, xy, yy: sums of products of the gradient less its mean, over `count` pixels. A patch without structure
// gets zeros: it is never moved.
STPL_RT_INLINE InverseHessian invert_hessian(float xx, float xy, float yy, float count) {
  // 8-bit rounding alone makes a gradient of variance 0.04 a pixel at full size, less where averaged.
  constexpr float kNoise = 1e-3F;
  const float determinant = xx * yy - xy * xy;
  const float flat = kNoise * count;
  if (!(determinant > flat * flat)) return {0.F, 0.F, 0.F};
  const float scale = 1.F / determinant;
  return {yy * scale, -xy * scale, xx * scale};
}

// What the sums say of the flow (u, v) of a patch of `size` pixels. What is not seen is taken to be like what
// is, and at a further charge: the fewer pixels, the easier they are matched. A patch that is hardly seen is
// lost, and stays where it was put. Beyond a pixel the linearised cost says nothing: no longer step is asked
// for.
STPL_RT_INLINE PatchFlow assess(float u, float v, const PatchSums& sums, const InverseHessian& inverse,
                                float size) {
  constexpr float kSeen = 0.4F;
  if (sums.count < kSeen * size) return {u, v, kLostCost, 0.F, 0.F};
  const float share = size / sums.count;
  const float mean = sums.d / sums.count;
  const float x = share * (sums.gx_d - mean * sums.gx);
  const float y = share * (sums.gy_d - mean * sums.gy);
  const float du = -(inverse.xx * x + inverse.xy * y);
  const float dv = -(inverse.xy * x + inverse.yy * y);
  const float length = std::sqrt(du * du + dv * dv);
  const float shorten = length > 1.F ? 1.F / length : 1.F;
  return {u, v, share * share * (sums.dd - mean * sums.d), shorten * du, shorten * dv};
}
STPL_RT_INLINE bool is_same_flow(const PatchFlow& one, const PatchFlow& other) {
  return one.u == other.u && one.v == other.v;
}
STPL_RT_INLINE bool is_lost(const PatchFlow& flow) { return flow.cost >= kLostCost; }

// Steps shorter than this, in pixels of the level, are not worth a look.
STPL_RT_INLINE bool is_negligible(float du, float dv) {
  constexpr float kStep = 0.01F;
  return du * du + dv * dv < kStep * kStep;
}
STPL_RT_INLINE bool farther_than(float du, float dv, float distance) {
  return !(du * du + dv * dv <= distance * distance);
}

// Draws a patch's flow towards the means of opposite neighbours, where those nearly agree with it. Of flow
// that changes linearly nothing is lost, at the edge of a motion the mean differs and does not count.
struct Smoothing {
  float du = 0.F, dv = 0.F, total = 1.F;

  STPL_RT_INLINE void add_pair(const PatchFlow& own, const PatchFlow& one, const PatchFlow& other) {
    constexpr float kReach = 0.4F;  // pixels of the level
    const float mean_du = 0.5F * (one.u + other.u) - own.u;
    const float mean_dv = 0.5F * (one.v + other.v) - own.v;
    const float agreement = 1.F - (mean_du * mean_du + mean_dv * mean_dv) / (kReach * kReach);
    const float weight = agreement > 0.F ? 2.F * agreement : 0.F;
    du += weight * mean_du;
    dv += weight * mean_dv;
    total += weight;
  }
  [[nodiscard]] STPL_RT_INLINE PatchFlow smoothed(const PatchFlow& own) const {
    return {own.u + du / total, own.v + dv / total, own.cost, own.du, own.dv, own.moved};
  }
};

// The patch at `column` and `row` of a grid less the scatter of the estimates around it.
STPL_RT_INLINE PatchFlow smoothed_patch(const PatchFlow* in, int column, int row, int columns, int rows) {
  const PatchFlow* const at = in + row * columns + column;
  const bool across = column > 0 && column < columns - 1;
  const bool down = row > 0 && row < rows - 1;
  Smoothing sum;
  if (across) sum.add_pair(at[0], at[-1], at[1]);
  if (down) sum.add_pair(at[0], at[-columns], at[columns]);
  if (across && down) {
    sum.add_pair(at[0], at[-columns - 1], at[columns + 1]);
    sum.add_pair(at[0], at[-columns + 1], at[columns - 1]);
  }
  return sum.smoothed(at[0]);
}

// --- Densification ---

// Weight of pixel `i` of `size` in a patch: highest in the middle, so that the flow between two patches'
// centres goes over from one to the other; not so low at the rim that a pixel rests on one patch alone.
STPL_RT_INLINE float window(int i, int size) {
  constexpr float kWidth = 1.25F;  // 1 is a tent that is zero just outside the patch
  const float from_center = static_cast<float>(2 * i + 1 - size);
  return kWidth * static_cast<float>(size) - (from_center < 0.F ? -from_center : from_center);
}

// --- From a level to the full grid ---

// Pixel r of a cell of `scale` pixels is `left` of the cell before, `own` of its own and `right` of the one
// after, of flow in the cells' pixels: the weights sum to `scale`.
struct CellWeight {
  float left, own, right;
};
STPL_RT_INLINE CellWeight cell_weight(int r, int scale) {
  const float factor = static_cast<float>(scale);
  const float offset = (static_cast<float>(r) + 0.5F) / factor - 0.5F;
  const float left = offset < 0.F ? -offset * factor : 0.F;
  const float right = offset > 0.F ? offset * factor : 0.F;
  return {left, factor - left - right, right};
}

}  // namespace stpl_rt
