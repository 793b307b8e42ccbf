// A frame that has been checked, with its strides made explicit, row by row.
#pragma once

#include <stpl_rt/frame.h>

#include <cstddef>
#include <cstdint>

namespace stpl_rt {

// Half of it, rounded away from 0: no step of it overflows.
template <class Integer>
constexpr Integer half_up(Integer value) noexcept {
  return value / 2 + value % 2;
}

// Whether rows of `least` elements that lie `stride` apart, up or down, leave each other alone. Without
// std::abs, which the smallest number does not have.
constexpr bool reaches(std::ptrdiff_t stride, std::ptrdiff_t least) noexcept {
  return stride >= least || stride <= -least;
}

struct FrameRows {
  // Throws Error(invalid_argument) for a frame that cannot be read.
  explicit FrameRows(const Frame& frame);

  // Row y as `channels` interleaved bytes a pixel; YUV is converted to RGB in `scratch`, of scratch_bytes().
  [[nodiscard]] const std::uint8_t* row(int y, std::uint8_t* scratch) const noexcept;
  [[nodiscard]] std::size_t scratch_bytes() const noexcept {
    return is_yuv(format) ? 3 * static_cast<std::size_t>(width) : 0;
  }
  // Row y of the memory: luma, of YUV.
  [[nodiscard]] const std::uint8_t* stored_row(int y) const noexcept { return data + y * stride; }
  // Which byte of a pixel of row() holds red (0), green (1) or blue (2).
  [[nodiscard]] int byte_of(int colour) const noexcept {
    if (channels == 1) return 0;
    return format == PixelFormat::bgr ? 2 - colour : colour;
  }
  [[nodiscard]] int chroma_width() const noexcept { return half_up(width); }
  [[nodiscard]] int chroma_height() const noexcept { return half_up(height); }

  const std::uint8_t* data;
  int width;
  int height;
  std::ptrdiff_t stride;
  int channels;  // of row()
  PixelFormat format;
  YuvEncoding encoding;
  const std::uint8_t* chroma = nullptr;
  const std::uint8_t* chroma_cr = nullptr;
  std::ptrdiff_t chroma_stride = 0;
};

}  // namespace stpl_rt
