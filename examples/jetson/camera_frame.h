// A camera's or decoder's NV12 where the hardware has put it, as a frame that Segmenter::push() takes.
// Nothing is copied: a Jetson's CPU and GPU share their memory. Headers: nvidia-l4t-jetson-multimedia-api;
// link with nvbufsurface.
#pragma once

#include <nvbufsurface.h>
#include <stpl_rt/frame.h>

#include <cstdint>
#include <optional>
#include <stdexcept>

namespace jetson {

// How the surface's luma and chroma make up a colour; nothing where it is not 8-bit NV12.
inline std::optional<stpl_rt::YuvEncoding> encoding_of(NvBufSurfaceColorFormat format) {
  switch (format) {
    case NVBUF_COLOR_FORMAT_NV12:
      return stpl_rt::YuvEncoding::bt601;
    case NVBUF_COLOR_FORMAT_NV12_ER:
      return stpl_rt::YuvEncoding::bt601_full;
    case NVBUF_COLOR_FORMAT_NV12_709:
      return stpl_rt::YuvEncoding::bt709;
    case NVBUF_COLOR_FORMAT_NV12_709_ER:
      return stpl_rt::YuvEncoding::bt709_full;
    default:
      return std::nullopt;
  }
}

// The first picture of a surface, mapped for as long as this lives. It must lie row after row
// (NVBUF_LAYOUT_PITCH), which `nvvidconv bl-output=false` sees to.
class CameraFrame {
 public:
  explicit CameraFrame(NvBufSurface* surface) : surface_(surface) {
    const NvBufSurfaceParams& params = surface->surfaceList[0];
    const auto encoding = encoding_of(params.colorFormat);
    if (!encoding || params.layout != NVBUF_LAYOUT_PITCH) {
      throw std::runtime_error(
          "expected 8-bit NV12 row after row, found another format or layout: put nvvidconv "
          "bl-output=false and format=NV12 before the sink");
    }
    if (NvBufSurfaceMap(surface, 0, -1, NVBUF_MAP_READ) != 0)
      throw std::runtime_error("a surface cannot be mapped");
    if (NvBufSurfaceSyncForCpu(surface, 0, -1) != 0) {
      NvBufSurfaceUnMap(surface, 0, -1);
      throw std::runtime_error("a surface cannot be read by the CPU");
    }
    frame_ = {.data = static_cast<const std::uint8_t*>(params.mappedAddr.addr[0]),
              .width = static_cast<int>(params.width),
              .height = static_cast<int>(params.height),
              .stride = static_cast<std::ptrdiff_t>(params.planeParams.pitch[0]),
              .format = stpl_rt::PixelFormat::nv12,
              .chroma = static_cast<const std::uint8_t*>(params.mappedAddr.addr[1]),
              .chroma_stride = static_cast<std::ptrdiff_t>(params.planeParams.pitch[1]),
              .encoding = *encoding};
  }
  ~CameraFrame() { NvBufSurfaceUnMap(surface_, 0, -1); }
  CameraFrame(const CameraFrame&) = delete;
  CameraFrame& operator=(const CameraFrame&) = delete;

  [[nodiscard]] const stpl_rt::Frame& frame() const { return frame_; }

 private:
  NvBufSurface* surface_;
  stpl_rt::Frame frame_;
};

}  // namespace jetson
