// A view of one video frame.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stpl_rt {

enum class PixelFormat : std::uint8_t {
  rgb,   // 3 bytes a pixel, red first
  bgr,   // 3 bytes a pixel, blue first (OpenCV's order)
  gray,  // 1 byte a pixel, used for all three channels
  nv12,  // a plane of luma, and at half the width and height Cb and Cr side by side: cameras, decoders
  i420,  // a plane of luma, and at half the width and height one of Cb and one of Cr
};

// How luma and chroma make up a colour.
enum class YuvEncoding : std::uint8_t {
  bt601,       // luma 16 to 235, as OpenCV takes it: most cameras
  bt709,       // luma 16 to 235: most HD video
  bt601_full,  // luma 0 to 255: JPEG, many webcams
  bt709_full,
};

// Where pixels lie. Only a Segmenter on a GPU takes device memory, of that GPU. Both pinned and device memory
// are read after the call: they must stay as they are until the result is there (DeviceMap::wait()).
enum class FrameMemory : std::uint8_t {
  host,
  pinned,  // of the host, allocated by CUDA: copied without the host's help
  device,  // addresses of the GPU; strides are positive
};

// Bytes that one pixel of `format` takes in a row of `Frame::data`.
constexpr int bytes_per_pixel(PixelFormat format) noexcept {
  return format == PixelFormat::rgb || format == PixelFormat::bgr ? 3 : 1;
}
constexpr bool is_yuv(PixelFormat format) noexcept {
  return format == PixelFormat::nv12 || format == PixelFormat::i420;
}

// Borrowed pixels: host memory must stay valid until the call that takes the frame returns.
struct Frame {
  const std::uint8_t* data = nullptr;
  int width = 0;              // pixels, at least 1
  int height = 0;             // pixels, at least 1
  std::ptrdiff_t stride = 0;  // bytes from one row to the next; 0: width * bytes_per_pixel; may be negative
  PixelFormat format = PixelFormat::rgb;

  // Of nv12 and i420 alone. Chroma has (width + 1) / 2 columns and (height + 1) / 2 rows.
  // nv12: Cb and Cr; i420: Cb. Null: right after the last row of luma; both strides are then positive.
  const std::uint8_t* chroma = nullptr;
  const std::uint8_t* chroma_cr = nullptr;  // i420: Cr; null: right after the last row of Cb, likewise
  std::ptrdiff_t chroma_stride = 0;         // 0: that of luma (nv12), half of it, rounded up (i420)
  YuvEncoding encoding = YuvEncoding::bt601;
  FrameMemory memory = FrameMemory::host;  // of all planes
};

}  // namespace stpl_rt
