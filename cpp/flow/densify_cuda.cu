#include "core/cuda/launch.h"
#include "flow/densify_cuda.h"
#include "flow/dis_arithmetic.h"

namespace stpl_rt::cuda {
namespace {

// A thread gathers for its pixel from the patches that cover it, in the order in which the CPU adds them up.
struct Densify {
  PatchGrid grid;
  const PatchFlow* patches;
  FlowPlanes out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const int size = grid.size;
    const int width = grid.current.width;
    const int height = grid.current.height;
    const int columns = grid.columns();
    const PatchRange across = covering_patches(x, width, size, grid.stride);
    const PatchRange down = covering_patches(y, height, size, grid.stride);
    const float here = grid.current.row(y)[x];
    float dx = 0.F, dy = 0.F, weight = 0.F;
    for (int row = down.first; row <= down.last; ++row) {
      const int top = patch_origin(row, height, size, grid.stride);
      for (int column = across.first; column <= across.last; ++column) {
        const int left = patch_origin(column, width, size, grid.stride);
        const PatchFlow& flow = patches[row * columns + column];
        const float w = window(y - top, size) * window(x - left, size) /
                        difference(here, static_cast<float>(left) + flow.u, x - left,
                                   static_cast<float>(top) + flow.v, y - top);
        dx += w * flow.u;
        dy += w * flow.v;
        weight += w;
      }
    }
    const float scale = 1.F / weight;
    out.dx.row(y)[x] = dx * scale;
    out.dy.row(y)[x] = dy * scale;
  }

 private:
  // At least 1: of `here` to pixel (i, j) of the patch that lies at (x, y) in the past image.
  STPL_RT_KERNEL float difference(float here, float x, int i, float y, int j) const {
    const LinearTap column = bordered_tap(x, grid.past.width, grid.border);
    const LinearTap row = bordered_tap(y, grid.past.height, grid.border);
    const float* upper = grid.past.row(row.index + j) + column.index + i;
    const float* lower = upper + grid.past.stride;
    const float above = upper[0] + column.weight * (upper[1] - upper[0]);
    const float below = lower[0] + column.weight * (lower[1] - lower[0]);
    const float signed_difference = above + row.weight * (below - above) - here;
    const float absolute = signed_difference < 0.F ? -signed_difference : signed_difference;
    return absolute > 1.F ? absolute : 1.F;
  }
};

struct Upsample {
  ConstFlowPlanes level;
  FlowPlanes out;
  int scale;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const float factor = static_cast<float>(scale);
    const LinearTap row = linear_tap((static_cast<float>(y) + 0.5F) / factor - 0.5F, level.dx.height);
    const int last = level.dx.width - 1;
    const int cell = x / scale;
    const CellWeight weight = cell <= last ? cell_weight(x % scale, scale) : CellWeight{0.F, factor, 0.F};
    // Of the two neighbours one has no weight.
    const int own = cell <= last ? cell : last;
    const int beside = weight.left > 0.F ? (own > 0 ? own - 1 : 0) : (own < last ? own + 1 : last);
    const float share = weight.left > 0.F ? weight.left : weight.right;
    out.dx.row(y)[x] = read(level.dx, row, beside) * share + read(level.dx, row, own) * weight.own;
    out.dy.row(y)[x] = read(level.dy, row, beside) * share + read(level.dy, row, own) * weight.own;
  }

 private:
  STPL_RT_KERNEL static float read(const ImageView<const float>& plane, const LinearTap& row, int x) {
    const float* upper = plane.row(row.index) + x;
    return mix(upper[0], upper[plane.height > 1 ? plane.stride : 0], row.weight);
  }
};

}  // namespace

void densify(const PatchGrid& grid, const PatchFlow* patches, const FlowPlanes& out, StreamHandle stream) {
  for_each_pixel(Densify{grid, patches, out}, grid.current.size(), stream);
}

void upsample(const ConstFlowPlanes& level, int scale, const FlowPlanes& out, StreamHandle stream) {
  for_each_pixel(Upsample{level, out, scale}, out.dx.size(), stream);
}

}  // namespace stpl_rt::cuda
