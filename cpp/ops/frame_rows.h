// A frame that has been checked, with its stride made explicit.
#pragma once

#include <stpl_rt/frame.h>

#include <cstddef>
#include <cstdint>

namespace stpl_rt {

struct FrameRows {
  // Throws Error(invalid_argument) for a frame that cannot be read.
  explicit FrameRows(const Frame& frame);

  [[nodiscard]] const std::uint8_t* row(int y) const noexcept { return data + y * stride; }
  // Which byte of a pixel holds red (0), green (1) or blue (2).
  [[nodiscard]] int byte_of(int colour) const noexcept {
    if (channels == 1) return 0;
    return format == PixelFormat::bgr ? 2 - colour : colour;
  }

  const std::uint8_t* data;
  int width;
  int height;
  std::ptrdiff_t stride;
  int channels;  // interleaved bytes a pixel
  PixelFormat format;
};

}  // namespace stpl_rt
