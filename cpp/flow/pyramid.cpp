#include "flow/pyramid.h"

#include <algorithm>

#include "core/simd.h"
#include "flow/dis_arithmetic.h"

namespace stpl_rt {
namespace {

constexpr int kGrain = 16;  // rows below which another thread costs more than it saves

STPL_RT_MULTIVERSION
void widen(const std::uint8_t* from, int width, float* out) {
#pragma omp simd
  for (int x = 0; x < width; ++x) out[x] = static_cast<float>(from[x]);
}

STPL_RT_MULTIVERSION
void halve_bytes(const std::uint8_t* upper, const std::uint8_t* lower, int width, float* out) {
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    // At most 1020: exact in any of the types.
    const int sum = upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1];
    out[x] = 0.25F * static_cast<float>(sum);
  }
}

STPL_RT_MULTIVERSION
void halve(const float* upper, const float* lower, int width, float* out) {
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    out[x] = box_mean(upper[2 * x], upper[2 * x + 1], lower[2 * x], lower[2 * x + 1]);
  }
}

// Repeats row y's ends into the border, and the whole row above or below where it is the first or last.
void extend(ImageView<float> level, int y, int border) {
  float* row = level.row(y);
  std::fill_n(row - border, border, row[0]);
  std::fill_n(row + level.width, border, row[level.width - 1]);
  const int length = level.width + 2 * border;
  for (int i = 1; i <= border && y == 0; ++i) std::copy_n(row - border, length, level.row(-i) - border);
  for (int i = 1; i <= border && y == level.height - 1; ++i) {
    std::copy_n(row - border, length, level.row(y + i) - border);
  }
}

// The inside of a buffer that has room for the border.
template <class T, class Buffer>
ImageView<T> inside(Buffer& buffer, int border) {
  return {buffer.row(border) + border, buffer.width() - 2 * border, buffer.height() - 2 * border,
          buffer.stride()};
}

}  // namespace

void Pyramid::build(ImageView<const std::uint8_t> image, const PyramidLayout& layout, ThreadPool& pool) {
  // None at all where memory ends half-way.
  layout_ = {};
  const int border = layout.border;
  if (layout.coarsest < layout.finest) {
    layout_ = layout;
    return;
  }
  if (static_cast<int>(levels_.size()) <= layout.coarsest) levels_.resize(layout.coarsest + 1);
  for (int l = std::min(1, layout.finest); l <= layout.coarsest; ++l) {
    const int width = image.width >> l;
    const int height = image.height >> l;
    levels_[l].resize(width + 2 * border, height + 2 * border);
    const ImageView<float> out = inside<float>(levels_[l], border);
    const ImageView<const float> finer = l > 1 || layout.finest == 0
                                             ? inside<const float>(levels_[std::max(l - 1, 0)], border)
                                             : ImageView<const float>{};
    pool.parallel_for(height, kGrain, [&](int begin, int end) {
      for (int y = begin; y < end; ++y) {
        if (l == 0) {
          widen(image.row(y), width, out.row(y));
        } else if (l == 1) {
          halve_bytes(image.row(2 * y), image.row(2 * y + 1), width, out.row(y));
        } else {
          halve(finer.row(2 * y), finer.row(2 * y + 1), width, out.row(y));
        }
        extend(out, y, border);
      }
    });
  }
  layout_ = layout;
}

ImageView<const float> Pyramid::level(int index) const noexcept {
  return inside<const float>(levels_[index], layout_.border);
}

}  // namespace stpl_rt
