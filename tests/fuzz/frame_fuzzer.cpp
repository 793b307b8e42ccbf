// Frames of every format, size and layout through all that reads their pixels. Planes lie in memory of
// exactly the bytes that frame.h says are theirs, so that the address sanitizer sees any read beyond.
#include <stpl_rt/error.h>

#include <cmath>
#include <memory>
#include <vector>

#include "byte_source.h"
#include "core/image.h"
#include "ops/frame_copy.h"
#include "ops/preprocess.h"
#include "requirement.h"

using namespace stpl_rt;
using namespace stpl_rt::fuzz;

namespace {

constexpr int kMostPixels = 80;  // a side

bool is_refused(const Frame& frame) {
  try {
    check_frame(frame);
    return false;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::invalid_argument, "a refused frame to be an invalid argument");
    return true;
  }
}

// Any numbers at all, as another language may pass them; no pixel is read.
void check_any_description(ByteSource& source) {
  Frame frame;
  std::uint8_t pixel = 0;
  frame.data = source.flag() ? &pixel : nullptr;
  frame.format = static_cast<PixelFormat>(source.byte());
  frame.encoding = static_cast<YuvEncoding>(source.byte());
  frame.chroma = source.flag() ? &pixel : nullptr;
  frame.chroma_cr = source.flag() ? &pixel : nullptr;
  frame.width = source.any<int>();
  frame.height = source.any<int>();
  frame.stride = source.any<std::ptrdiff_t>();
  frame.chroma_stride = source.any<std::ptrdiff_t>();
  (void)is_refused(frame);
}

// The rows of one plane, and the bytes from the first that is read to the last.
struct Plane {
  std::ptrdiff_t row;
  std::ptrdiff_t stride;
  int rows;

  [[nodiscard]] std::ptrdiff_t bytes() const { return std::abs(stride) * (rows - 1) + row; }
};

// Memory of exactly `bytes`, filled with `pattern` again and again.
class PixelMemory {
 public:
  PixelMemory(std::ptrdiff_t bytes, std::span<const std::uint8_t> pattern)
      : memory_(new std::uint8_t[static_cast<std::size_t>(bytes)]) {
    const auto size = static_cast<std::size_t>(bytes);
    for (std::size_t i = 0; i < size; ++i) {
      memory_[i] = pattern.empty() ? static_cast<std::uint8_t>(i * 37) : pattern[i % pattern.size()];
    }
  }
  // Where the first row of `plane`, alone in this memory, begins.
  [[nodiscard]] const std::uint8_t* first_row(const Plane& plane) const {
    return memory_.get() + (plane.stride < 0 ? -plane.stride * (plane.rows - 1) : 0);
  }
  [[nodiscard]] const std::uint8_t* data() const { return memory_.get(); }

 private:
  std::unique_ptr<std::uint8_t[]> memory_;
};

// 0 (dense), or at least `row` bytes either way.
std::ptrdiff_t draw_stride(ByteSource& source, std::ptrdiff_t row) {
  const int padding = source.small(-1, 14);
  if (padding < 0) return 0;
  return source.flag() ? -(row + padding) : row + padding;
}

// What is drawn of a frame, and by frame.h's words where its planes lie.
struct Layout {
  explicit Layout(ByteSource& source) {
    frame.format = static_cast<PixelFormat>(source.small(0, 4));
    frame.encoding = static_cast<YuvEncoding>(source.small(0, 3));
    frame.width = source.small(1, kMostPixels);
    frame.height = source.small(1, kMostPixels);
    const std::ptrdiff_t row = std::ptrdiff_t{frame.width} * bytes_per_pixel(frame.format);
    frame.stride = draw_stride(source, row);
    luma = {row, frame.stride == 0 ? row : frame.stride, frame.height};
    const std::ptrdiff_t columns = (frame.width + 1) / 2;
    const std::ptrdiff_t chroma_row = is_nv12() ? 2 * columns : columns;
    frame.chroma_stride = draw_stride(source, chroma_row);
    chroma = {chroma_row, frame.chroma_stride, (frame.height + 1) / 2};
    if (chroma.stride == 0) {
      chroma.stride = is_nv12() ? luma.stride : (luma.stride + (luma.stride < 0 ? -1 : 1)) / 2;
    }
    chroma_given = source.flag();
    cr_given = source.flag();
  }
  [[nodiscard]] bool is_nv12() const { return frame.format == PixelFormat::nv12; }
  // Whether frame.h says where every plane is.
  [[nodiscard]] bool is_readable() const {
    if (!is_yuv(frame.format)) return true;
    const bool rows_fit = std::abs(chroma.stride) >= chroma.row;
    const bool chroma_known = chroma_given || (luma.stride > 0 && chroma.stride > 0);
    const bool cr_known = is_nv12() || cr_given || chroma.stride > 0;
    return rows_fit && chroma_known && cr_known;
  }

  Frame frame;
  Plane luma{};
  Plane chroma{};
  bool chroma_given = false;
  bool cr_given = false;
};

// The planes of a readable layout: each that is given in memory of its own, the others right after the one
// before.
class FrameInMemory {
 public:
  FrameInMemory(const Layout& layout, std::span<const std::uint8_t> pattern) : frame(layout.frame) {
    const Plane& luma = layout.luma;
    if (!is_yuv(frame.format)) {
      frame.data = memory_.emplace_back(luma.bytes(), pattern).first_row(luma);
      return;
    }
    const bool cr_follows = !layout.is_nv12() && !layout.cr_given;
    const Plane& chroma = layout.chroma;
    const std::ptrdiff_t chroma_bytes = chroma.bytes() + (cr_follows ? chroma.stride * chroma.rows : 0);
    if (layout.chroma_given) {
      frame.data = memory_.emplace_back(luma.bytes(), pattern).first_row(luma);
      frame.chroma = memory_.emplace_back(chroma_bytes, pattern).first_row(chroma);
    } else {
      frame.data = memory_.emplace_back(luma.stride * luma.rows + chroma_bytes, pattern).data();
    }
    if (layout.cr_given && !layout.is_nv12()) {
      frame.chroma_cr = memory_.emplace_back(chroma.bytes(), pattern).first_row(chroma);
    }
  }

  Frame frame;

 private:
  std::vector<PixelMemory> memory_;
};

InputSpec draw_input(ByteSource& source, const Frame& frame) {
  InputSpec input;
  const bool same_size = source.small(0, 3) == 0;
  input.width = same_size ? frame.width : source.small(1, kMostPixels);
  input.height = same_size ? frame.height : source.small(1, kMostPixels);
  input.color_order = source.flag() ? ColorOrder::bgr : ColorOrder::rgb;
  input.resize = source.flag() ? ResizeMode::letterbox : ResizeMode::stretch;
  input.filter = source.flag() ? ResizeFilter::area : ResizeFilter::bilinear;
  input.mean = {112, 120, 128};
  input.std = {64, 64, 32};
  if (source.flag()) {
    input.lut.emplace();
    for (auto& table : *input.lut) {
      for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::uint8_t>(255 - i);
    }
  }
  return input;
}

std::vector<float> preprocessed(const Frame& frame, const InputSpec& input, ThreadPool& pool) {
  std::vector<float> out(3 * static_cast<std::size_t>(input.width) * static_cast<std::size_t>(input.height),
                         NAN);
  preprocess(frame, input, out.data(), pool);
  for (const float value : out)
    require(std::abs(value) < 8, "every value of the network's input, within range");
  return out;
}

std::vector<std::uint8_t> luma_of(const Frame& frame, const InputSpec& input, Size grid, ThreadPool& pool) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(grid.width) * static_cast<std::size_t>(grid.height));
  luma(frame, input, {out.data(), grid.width, grid.height, grid.width}, pool);
  return out;
}

void read_all_pixels(ByteSource& source) {
  const Layout layout(source);
  if (!layout.is_readable()) {
    Frame frame = layout.frame;
    const std::uint8_t pixel = 0;
    frame.data = &pixel;
    if (layout.chroma_given) frame.chroma = &pixel;
    if (layout.cr_given) frame.chroma_cr = &pixel;
    require(is_refused(frame), "a frame whose planes cannot be found to be refused");
    return;
  }
  static ThreadPool pool(1);
  const InputSpec input = draw_input(source, layout.frame);
  const bool same_size = source.flag();
  const Size grid = {same_size ? layout.frame.width : source.small(1, kMostPixels),
                     same_size ? layout.frame.height : source.small(1, kMostPixels)};
  const FrameInMemory stored(layout, source.rest());
  AlignedBuffer<std::uint8_t> memory;
  const Frame copy = copy_frame(stored.frame, memory);
  require(preprocessed(stored.frame, input, pool) == preprocessed(copy, input, pool),
          "a copy to look the same");
  require(luma_of(stored.frame, input, grid, pool) == luma_of(copy, input, grid, pool),
          "a copy to be as bright as the frame");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteSource source(data, size);
  if (source.small(0, 3) == 3) {
    check_any_description(source);
  } else {
    read_all_pixels(source);
  }
  return 0;
}
