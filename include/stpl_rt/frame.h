// A view of one video frame in host memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stpl_rt {

enum class PixelFormat : std::uint8_t {
  rgb,   // 3 bytes a pixel, red first
  bgr,   // 3 bytes a pixel, blue first (OpenCV's order)
  gray,  // 1 byte a pixel, used for all three channels
};

// Bytes that one pixel of `format` takes.
constexpr int bytes_per_pixel(PixelFormat format) noexcept { return format == PixelFormat::gray ? 1 : 3; }

// Borrowed pixels: the memory must stay valid until the call that takes the frame returns.
struct Frame {
  const std::uint8_t* data = nullptr;
  int width = 0;              // pixels, at least 1
  int height = 0;             // pixels, at least 1
  std::ptrdiff_t stride = 0;  // bytes from one row to the next; 0: width * bytes_per_pixel; may be negative
  PixelFormat format = PixelFormat::rgb;
};

}  // namespace stpl_rt
