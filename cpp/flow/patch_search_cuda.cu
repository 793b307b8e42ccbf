// The pixels of a patch are dealt out to the lanes of a warp, which stay together: all that is decided, is
// decided by sums over the patch. A patch of 8 x 8 is two pixels a lane, so a look is over in the time of a
// few loads.
#include "core/cuda/launch.h"
#include "flow/patch_search_cuda.h"

namespace stpl_rt::cuda {
namespace {

// What stays the same over all looks at one patch, and each lane's pixels of it. The gradient lacks its mean.
// kSize: the patch's side, or 0: the grid's. Pixel k of a lane is element lane + 32 k of the patch.
template <int kSize, int kPixels>
class Patch {
 public:
  STPL_RT_KERNEL Patch(const Warp& warp, const PatchGrid& grid, int column, int row)
      : warp_(warp),
        grid_(grid),
        x_(patch_origin(column, grid.current.width, side(), grid.stride)),
        y_(patch_origin(row, grid.current.height, side(), grid.stride)),
        count_(static_cast<float>(side() * side())) {
    warp_.each([&](int lane) {
#pragma unroll
      for (int k = 0; k < kPixels; ++k) {
        const bool exists = lane + k * kWarpLanes < side() * side();
        pixels_[lane].value[k] = exists ? current(lane, k)[0] : 0.F;
      }
    });
  }

  [[nodiscard]] STPL_RT_KERNEL int side() const { return kSize > 0 ? kSize : grid_.size; }
  [[nodiscard]] STPL_RT_KERNEL float centre_x() const { return centre(x_); }
  [[nodiscard]] STPL_RT_KERNEL float centre_y() const { return centre(y_); }

  // What steps need, and looks at the cost do not.
  STPL_RT_KERNEL void take_gradients() {
    const Pair sum = warp_.sum<float, Pair>([&](int lane) {
      Pair own{};
#pragma unroll
      for (int k = 0; k < kPixels; ++k) {
        const Pair slope = exists(lane, k) ? gradient(current(lane, k)) : Pair{};
        pixels_[lane].gradient_x[k] = slope.x;
        pixels_[lane].gradient_y[k] = slope.y;
        own.x += slope.x;
        own.y += slope.y;
      }
      return own;
    });
    const Pair mean = {sum.x / count_, sum.y / count_};
    const Hessian hessian = warp_.sum<float, Hessian>([&](int lane) {
      Hessian own{};
#pragma unroll
      for (int k = 0; k < kPixels; ++k) {
        if (!exists(lane, k)) continue;
        const float x = pixels_[lane].gradient_x[k] -= mean.x;
        const float y = pixels_[lane].gradient_y[k] -= mean.y;
        own.xx += x * x;
        own.xy += x * y;
        own.yy += y * y;
      }
      return own;
    });
    inverse_ = invert_hessian(hessian.xx, hessian.xy, hessian.yy, count_);
  }

  // The cost at (u, v), and the step from there.
  [[nodiscard]] STPL_RT_KERNEL PatchFlow look(float u, float v) const {
    const View view = at(u, v);
    PatchSums sums = warp_.sum<float, StepSums>([&](int lane) { return compare(lane, view); }).sums();
    sums.count = view.count;
    return assess(u, v, sums, inverse_, count_);
  }
  // The cost alone.
  [[nodiscard]] STPL_RT_KERNEL PatchFlow look_at_cost(float u, float v) const {
    const View view = at(u, v);
    const CostSums sums = warp_.sum<float, CostSums>([&](int lane) { return compare_values(lane, view); });
    return assess(u, v, {sums.d, sums.dd, 0.F, 0.F, 0.F, 0.F, view.count}, {}, count_);
  }

  // Steps while the cost does not rise. Whoever strays by more than a patch has lost the structure: back to
  // the start.
  [[nodiscard]] STPL_RT_KERNEL PatchFlow descend(const PatchFlow& start, int steps) const {
    PatchFlow best = start;
    for (int i = 0; i < steps && !is_negligible(best.du, best.dv); ++i) {
      const PatchFlow next = look(best.u + best.du, best.v + best.dv);
      if (!(next.cost < kTolerance * best.cost)) {
        best.du = best.dv = 0.F;
        break;
      }
      best = next;
    }
    if (farther_than(best.u - start.u, best.v - start.v, static_cast<float>(side()))) {
      best = start;
      best.du = best.dv = 0.F;
    }
    return best;
  }

 private:
  struct Pair {
    float x, y;
  };
  struct Hessian {
    float xx, xy, yy;
  };
  struct CostSums {
    float d, dd;
  };
  struct StepSums {
    float d, dd, gx, gy, gx_d, gy_d;
    [[nodiscard]] STPL_RT_KERNEL PatchSums sums() const { return {d, dd, gx, gy, gx_d, gy_d, 0.F}; }
  };
  struct Pixels {
    float value[kPixels];
    float gradient_x[kPixels];
    float gradient_y[kPixels];
  };
  // Where a look reads, and how many pixels it sees there.
  struct View {
    LinearTap column, row;
    float count;
    bool whole;
  };
  // A read of the past image, and its slopes there.
  struct Read {
    float value, slope_x, slope_y;
  };

  [[nodiscard]] STPL_RT_KERNEL float centre(int first) const {
    return static_cast<float>(first) + 0.5F * static_cast<float>(side() - 1);
  }
  [[nodiscard]] STPL_RT_KERNEL int column_of(int lane, int k) const {
    return (lane + k * kWarpLanes) % side();
  }
  [[nodiscard]] STPL_RT_KERNEL int row_of(int lane, int k) const { return (lane + k * kWarpLanes) / side(); }
  [[nodiscard]] STPL_RT_KERNEL bool exists(int lane, int k) const {
    return lane + k * kWarpLanes < side() * side();
  }
  [[nodiscard]] STPL_RT_KERNEL const float* current(int lane, int k) const {
    return grid_.current.row(y_ + row_of(lane, k)) + x_ + column_of(lane, k);
  }
  [[nodiscard]] STPL_RT_KERNEL Pair gradient(const float* pixel) const {
    const std::ptrdiff_t stride = grid_.current.stride;
    return {0.5F * (pixel[1] - pixel[-1]), 0.5F * (pixel[stride] - pixel[-stride])};
  }

  [[nodiscard]] STPL_RT_KERNEL int count_visible(float first, int extent) const {
    int count = 0;
    for (int i = 0; i < side(); ++i) count += is_inside(first + static_cast<float>(i), extent) ? 1 : 0;
    return count;
  }
  [[nodiscard]] STPL_RT_KERNEL View at(float u, float v) const {
    const ImageView<const float>& past = grid_.past;
    const LinearTap column = bordered_tap(static_cast<float>(x_) + u, past.width, grid_.border);
    const LinearTap row = bordered_tap(static_cast<float>(y_) + v, past.height, grid_.border);
    const float last = static_cast<float>(side() - 1);
    const bool whole = is_inside(position(column), past.width) &&
                       is_inside(position(column) + last, past.width) &&
                       is_inside(position(row), past.height) && is_inside(position(row) + last, past.height);
    if (whole) return {column, row, count_, true};
    const int seen = count_visible(position(column), past.width) * count_visible(position(row), past.height);
    return {column, row, static_cast<float>(seen), false};
  }
  [[nodiscard]] STPL_RT_KERNEL bool is_visible(int lane, int k, const View& view) const {
    if (!exists(lane, k)) return false;
    if (view.whole) return true;
    const float x = position(view.column) + static_cast<float>(column_of(lane, k));
    const float y = position(view.row) + static_cast<float>(row_of(lane, k));
    return is_inside(x, grid_.past.width) && is_inside(y, grid_.past.height);
  }
  [[nodiscard]] STPL_RT_KERNEL Read read(int lane, int k, const View& view) const {
    const float* upper =
        grid_.past.row(view.row.index + row_of(lane, k)) + view.column.index + column_of(lane, k);
    const float* lower = upper + grid_.past.stride;
    const float upper_slope = upper[1] - upper[0];
    const float lower_slope = lower[1] - lower[0];
    const float above = upper[0] + view.column.weight * upper_slope;
    const float below = lower[0] + view.column.weight * lower_slope;
    const float slope_y = below - above;
    return {above + view.row.weight * slope_y, upper_slope + view.row.weight * (lower_slope - upper_slope),
            slope_y};
  }
  [[nodiscard]] STPL_RT_KERNEL CostSums compare_values(int lane, const View& view) const {
    CostSums sums{};
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
      if (!is_visible(lane, k, view)) continue;
      const float d = read(lane, k, view).value - pixels_[lane].value[k];
      sums.d += d;
      sums.dd += d * d;
    }
    return sums;
  }
  [[nodiscard]] STPL_RT_KERNEL StepSums compare(int lane, const View& view) const {
    StepSums sums{};
#pragma unroll
    for (int k = 0; k < kPixels; ++k) {
      if (!is_visible(lane, k, view)) continue;
      const Read past = read(lane, k, view);
      const Pixels& own = pixels_[lane];
      const float d = past.value - own.value[k];
      const float gx = kCurrentGradient * own.gradient_x[k] + kPastGradient * past.slope_x;
      const float gy = kCurrentGradient * own.gradient_y[k] + kPastGradient * past.slope_y;
      sums.d += d;
      sums.dd += d * d;
      sums.gx += gx;
      sums.gy += gy;
      sums.gx_d += gx * d;
      sums.gy_d += gy * d;
    }
    return sums;
  }

  const Warp& warp_;
  const PatchGrid& grid_;
  int x_, y_;
  float count_;
  InverseHessian inverse_{};
  PerLane<Pixels> pixels_;
};

STPL_RT_INLINE float read_coarser(ImageView<const float> plane, float x, float y) {
  const LinearTap column = linear_tap(coarser_position(x), plane.width);
  const LinearTap row = linear_tap(coarser_position(y), plane.height);
  const float* upper = plane.row(row.index) + column.index;
  const float* lower = upper + (plane.height > 1 ? plane.stride : 0);
  const int right = plane.width > 1 ? 1 : 0;
  return mix(mix(upper[0], upper[right], column.weight), mix(lower[0], lower[right], column.weight),
             row.weight);
}

template <int kSize, int kPixels>
struct Start {
  PatchGrid grid;
  CoarserFlow coarser;
  int steps;
  PatchFlow* out;

  STPL_RT_KERNEL void operator()(const Warp& warp, int column, int row) const {
    Patch<kSize, kPixels> patch(warp, grid, column, row);
    patch.take_gradients();
    float u = 0.F, v = 0.F;
    if (!coarser.dx.empty()) {
      u = 2.F * read_coarser(coarser.dx, patch.centre_x(), patch.centre_y());
      v = 2.F * read_coarser(coarser.dy, patch.centre_x(), patch.centre_y());
    }
    const PatchFlow found = patch.descend(patch.look(u, v), steps);
    warp.one(0, [&](int) { out[row * grid.columns() + column] = found; });
  }
};

template <int kSize, int kPixels>
struct Improve {
  PatchGrid grid;
  const PatchFlow* in;
  int steps;
  PatchFlow* out;

  STPL_RT_KERNEL void operator()(const Warp& warp, int column, int row) const {
    const PatchFlow own = in[row * grid.columns() + column];
    PatchFlow result = improved(warp, own, column, row);
    result.moved = !is_same_flow(result, own);
    warp.one(0, [&](int) { out[row * grid.columns() + column] = result; });
  }

 private:
  static constexpr int kAround = 9;  // a patch and its neighbours, row by row: lane i takes the i-th

  STPL_RT_KERNEL PatchFlow improved(const Warp& warp, const PatchFlow& own, int column, int row) const {
    if (is_lost(own)) return own;
    PerLane<float> u, v;
    const std::uint32_t candidates = warp.ballot([&](int lane) {
      const int x = column - 1 + lane % 3;
      const int y = row - 1 + lane / 3;
      if (lane >= kAround || x < 0 || y < 0 || x >= grid.columns() || y >= grid.rows()) return false;
      const PatchFlow& other = in[y * grid.columns() + x];
      u[lane] = other.u;
      v[lane] = other.v;
      return other.moved && farther_than(other.u - own.u, other.v - own.v, kSameFlow);
    });
    if (candidates == 0 && is_negligible(own.du, own.dv)) return own;
    Patch<kSize, kPixels> patch(warp, grid, column, row);
    PatchFlow best = own;
    for (int i = 0; i < kAround; ++i) {
      if ((candidates >> i & 1U) == 0) continue;
      const PatchFlow found = patch.look_at_cost(warp.read(u, i), warp.read(v, i));
      if (found.cost < best.cost) best = found;
    }
    if (is_same_flow(best, own) && is_negligible(own.du, own.dv)) return own;
    patch.take_gradients();
    if (!is_same_flow(best, own)) best = patch.look(best.u, best.v);
    return patch.descend(best, steps);
  }
};

struct Smooth {
  PatchGrid grid;
  const PatchFlow* in;
  PatchFlow* out;

  STPL_RT_KERNEL void operator()(int column, int row) const {
    const int columns = grid.columns();
    out[row * columns + column] = smoothed_patch(in, column, row, columns, grid.rows());
  }
};

Size patches_of(const PatchGrid& grid) { return {grid.columns(), grid.rows()}; }

// The kernel for patches of the grid's size: the usual one has it as a constant.
template <template <int, int> class Kernel, class... Arguments>
void search(const PatchGrid& grid, StreamHandle stream, Arguments... arguments) {
  constexpr int kUsual = 8;
  constexpr int kMiddle = 16;
  if (grid.size == kUsual) {
    for_each_warp(Kernel<kUsual, kUsual * kUsual / kWarpLanes>{grid, arguments...}, patches_of(grid), stream);
  } else if (grid.size <= kMiddle) {
    for_each_warp(Kernel<0, kMiddle * kMiddle / kWarpLanes>{grid, arguments...}, patches_of(grid), stream);
  } else {
    for_each_warp(Kernel<0, kMaxPatchSize * kMaxPatchSize / kWarpLanes>{grid, arguments...}, patches_of(grid),
                  stream);
  }
}

}  // namespace

void start_patches(const PatchGrid& grid, const CoarserFlow& coarser, int steps, PatchFlow* out,
                   StreamHandle stream) {
  search<Start>(grid, stream, coarser, steps, out);
}

void improve_patches(const PatchGrid& grid, const PatchFlow* in, int steps, PatchFlow* out,
                     StreamHandle stream) {
  search<Improve>(grid, stream, in, steps, out);
}

void smooth_patches(const PatchGrid& grid, const PatchFlow* in, PatchFlow* out, StreamHandle stream) {
  for_each_pixel(Smooth{grid, in, out}, patches_of(grid), stream);
}

}  // namespace stpl_rt::cuda
