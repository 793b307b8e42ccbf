// The search for the patches of one pyramid level.
#pragma once

#include "core/image.h"
#include "flow/dis_arithmetic.h"

namespace stpl_rt {

constexpr int kMaxPatchSize = 32;

// One level of both images and its grid of patches.
struct PatchGrid {
  ImageView<const float> current;
  ImageView<const float> past;
  int border;  // of both levels, at least the patch size rounded up to the vector's width
  int size;
  int stride;

  [[nodiscard]] STPL_RT_INLINE int columns() const { return patch_count(current.width, size, stride); }
  [[nodiscard]] STPL_RT_INLINE int rows() const { return patch_count(current.height, size, stride); }
};

// The flow of the level above, to start from; empty views: start from zero.
struct CoarserFlow {
  ImageView<const float> dx, dy;
};

// For the patches of rows [begin, end): starts each at the coarser flow and takes up to `steps` steps.
// `out` has grid.rows() rows of grid.columns() patches.
void start_patches(const PatchGrid& grid, const CoarserFlow& coarser, int steps, int begin, int end,
                   PatchFlow* out);

// The same, starting from the best of what `in` has for the patch and its neighbours. Reads `in` only and
// writes `out` only, so that the order of the patches does not matter.
void improve_patches(const PatchGrid& grid, const PatchFlow* in, int steps, int begin, int end,
                     PatchFlow* out);

// The patches' flow less the scatter of their estimates, see Smoothing. Reads `in` only, writes `out` only.
void smooth_patches(const PatchGrid& grid, const PatchFlow* in, int begin, int end, PatchFlow* out);

}  // namespace stpl_rt
