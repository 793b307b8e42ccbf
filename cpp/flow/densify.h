// From the patches' flow to each pixel's, and from a level to the full grid.
#pragma once

#include "flow/patch_search.h"

namespace stpl_rt {

// Room that the planes of densify() need to the right of the last column.
constexpr int kDensifySlack = 8;

// Rows [begin, end) of the level's flow: the mean of the patches that cover a pixel, weighted by how well
// each explains it, 1 / max(1, |past(x + flow) - current(x)|), and by how near its centre it is. The planes
// have the level's size and kDensifySlack floats more in each row. `weight` is scratch.
void densify(const PatchGrid& grid, const PatchFlow* patches, int begin, int end, ImageView<float> dx,
             ImageView<float> dy, ImageView<float> weight);

// Rows [begin, end) of `out`: `level`, one value a `scale` x `scale` cell, read bilinearly and multiplied by
// `scale`. `scale` is a power of two; pixels right of and below the last full cell repeat the edge.
void upsample(ImageView<const float> level, int scale, int begin, int end, ImageView<float> out);

}  // namespace stpl_rt
