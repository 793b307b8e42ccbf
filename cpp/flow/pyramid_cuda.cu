#include <string>

#include "core/cuda/launch.h"
#include "flow/dis_arithmetic.h"
#include "flow/pyramid_cuda.h"

namespace stpl_rt::cuda {
namespace {

constexpr int kAlignment = 32;  // floats that a level's rows are rounded up to

STPL_RT_INLINE int clamped(int x, int extent) { return x < 0 ? 0 : x < extent ? x : extent - 1; }

// The finest level: means of 2^level x 2^level bytes. Such sums and their quotients are exact in float, so
// that one step gives what halving again and again does.
struct BuildFinest {
  ImageView<const std::uint8_t> image;
  ImageView<float> out;
  int level;
  int border;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const int left = clamped(x - border, out.width) << level;
    const int top = clamped(y - border, out.height) << level;
    int sum = 0;
    for (int j = 0; j < 1 << level; ++j) {
      const std::uint8_t* row = image.row(top + j) + left;
      for (int i = 0; i < 1 << level; ++i) sum += row[i];
    }
    out.row(y - border)[x - border] = static_cast<float>(sum) / static_cast<float>(1 << (2 * level));
  }
};

struct Halve {
  ImageView<const float> finer;
  ImageView<float> out;
  int border;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const float* upper = finer.row(2 * clamped(y - border, out.height)) + 2 * clamped(x - border, out.width);
    const float* lower = upper + finer.stride;
    out.row(y - border)[x - border] = box_mean(upper[0], upper[1], lower[0], lower[1]);
  }
};

}  // namespace

void Pyramid::prepare(const PyramidLayout& layout) {
  layout_ = layout;
  levels_.clear();
  const auto rounded = [](int width) {
    return (static_cast<std::ptrdiff_t>(width) + kAlignment - 1) / kAlignment * kAlignment;
  };
  std::ptrdiff_t count = 0;
  for (int l = layout.finest; l <= layout.coarsest; ++l) {
    const Size size = {layout.image.width >> l, layout.image.height >> l};
    const std::ptrdiff_t stride = rounded(size.width + 2 * layout.border);
    levels_.push_back({nullptr, size.width, size.height, stride});
    count += stride * (size.height + 2 * layout.border);
  }
  memory_.reserve(static_cast<std::size_t>(count));
  float* first = memory_.data();
  for (ImageView<float>& level : levels_) {
    level.data = first + layout.border * level.stride + layout.border;
    first += level.stride * (level.height + 2 * layout.border);
  }
}

void Pyramid::build(ImageView<const std::uint8_t> image, StreamHandle stream) {
  if (image.empty() || image.size() != layout_.image) {
    throw Error(ErrorCode::invalid_argument,
                "Pyramid: expected an image of " + std::to_string(layout_.image.width) + "x" +
                    std::to_string(layout_.image.height) + ", as prepared for, found " +
                    std::to_string(image.width) + "x" + std::to_string(image.height));
  }
  const int border = layout_.border;
  for (int l = layout_.finest; l <= layout_.coarsest; ++l) {
    const ImageView<float> out = mutable_level(l);
    const Size size = {out.width + 2 * border, out.height + 2 * border};
    if (l == layout_.finest) {
      for_each_pixel(BuildFinest{image, out, l, border}, size, stream);
    } else {
      for_each_pixel(Halve{level(l - 1), out, border}, size, stream);
    }
  }
}

}  // namespace stpl_rt::cuda
