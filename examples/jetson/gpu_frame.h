// The same surface as camera_frame.h makes a frame of, by its address on the GPU: for a Segmenter on "cuda",
// which reads it where it lies. Link with cuda and nvbufsurface. The calling thread needs CUDA's context:
// cudaFree(nullptr) once makes it.
#pragma once

#include <cudaEGL.h>
#include <nvbufsurface.h>
#include <stpl_rt/frame.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "camera_frame.h"

namespace jetson {

// Must live until the result is there: push() waits for it, unless device_labels is set.
class GpuFrame {
 public:
  explicit GpuFrame(NvBufSurface* surface) : surface_(surface) {
    const NvBufSurfaceParams& params = surface->surfaceList[0];
    const auto encoding = encoding_of(params.colorFormat);
    if (!encoding) throw std::runtime_error("expected 8-bit NV12, found another format");
    if (NvBufSurfaceMapEglImage(surface, 0) != 0)
      throw std::runtime_error("a surface cannot become an EGL image");
    CUeglFrame mapped{};
    if (!map(mapped)) {
      release();
      throw std::runtime_error(
          "CUDA cannot read a surface row after row: put nvvidconv bl-output=false before the sink");
    }
    frame_ = {.data = static_cast<const std::uint8_t*>(mapped.frame.pPitch[0]),
              .width = static_cast<int>(params.width),
              .height = static_cast<int>(params.height),
              .stride = static_cast<std::ptrdiff_t>(mapped.pitch),
              .format = stpl_rt::PixelFormat::nv12,
              .chroma = static_cast<const std::uint8_t*>(mapped.frame.pPitch[1]),
              .chroma_stride = static_cast<std::ptrdiff_t>(params.planeParams.pitch[1]),
              .encoding = *encoding,
              .memory = stpl_rt::FrameMemory::device};
  }
  ~GpuFrame() { release(); }
  GpuFrame(const GpuFrame&) = delete;
  GpuFrame& operator=(const GpuFrame&) = delete;

  [[nodiscard]] const stpl_rt::Frame& frame() const { return frame_; }

 private:
  bool map(CUeglFrame& mapped) {
    auto* const image = static_cast<EGLImageKHR>(surface_->surfaceList[0].mappedAddr.eglImage);
    return cuGraphicsEGLRegisterImage(&resource_, image, CU_GRAPHICS_MAP_RESOURCE_FLAGS_NONE) ==
               CUDA_SUCCESS &&
           cuGraphicsResourceGetMappedEglFrame(&mapped, resource_, 0, 0) == CUDA_SUCCESS &&
           mapped.frameType == CU_EGL_FRAME_TYPE_PITCH && mapped.planeCount == 2;
  }
  void release() noexcept {
    if (resource_ != nullptr) (void)cuGraphicsUnregisterResource(resource_);
    (void)NvBufSurfaceUnMapEglImage(surface_, 0);
  }

  NvBufSurface* surface_;
  CUgraphicsResource resource_ = nullptr;
  stpl_rt::Frame frame_;
};

}  // namespace jetson
