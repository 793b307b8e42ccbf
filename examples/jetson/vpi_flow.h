// Optical flow of a Jetson's hardware (OFA), by VPI 3 or 4, from each frame into the one before it.
// Link with nvvpi: find_package(vpi REQUIRED), target_link_libraries(app PRIVATE vpi).
#pragma once

#include <stpl_rt/flow.h>
#include <vpi/Image.h>
#include <vpi/Status.h>
#include <vpi/Stream.h>
#include <vpi/algo/ConvertImageFormat.h>
#include <vpi/algo/OpticalFlowDense.h>

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "motion_vectors.h"

namespace jetson {

inline void check(VPIStatus status, const char* doing) {
  if (status == VPI_SUCCESS) return;
  throw std::runtime_error(std::string("VPI failed ") + doing + ": " + vpiStatusGetName(status));
}

// A surface of the camera's or decoder's as VPI reads it where it lies. `descriptor`: its
// surfaceList[0].bufferDesc.
class SurfacePicture {
 public:
  explicit SurfacePicture(std::uint64_t descriptor) {
    VPIImageData data{};
    data.bufferType = VPI_IMAGE_BUFFER_NVBUFFER;
    data.buffer.fd = static_cast<int>(descriptor);
    check(vpiImageCreateWrapper(&data, nullptr, VPI_BACKEND_VIC, &image_), "to read a surface");
  }
  ~SurfacePicture() { vpiImageDestroy(image_); }
  SurfacePicture(const SurfacePicture&) = delete;
  SurfacePicture& operator=(const SurfacePicture&) = delete;

  [[nodiscard]] VPIImage get() const { return image_; }

 private:
  VPIImage image_ = nullptr;
};

// One stream of frames of one size.
class HardwareFlow {
 public:
  HardwareFlow(int width, int height) : width_(width), height_(height) {
    const std::int32_t grid = kGrid;
    try {
      check(vpiStreamCreate(VPI_BACKEND_VIC | VPI_BACKEND_OFA, &stream_), "to make a stream");
      for (VPIImage& frame : frames_) {
        check(vpiImageCreate(width, height, kFormat, VPI_BACKEND_VIC | VPI_BACKEND_OFA, &frame),
              "to make a picture");
      }
      check(vpiImageCreate((width + kGrid - 1) / kGrid, (height + kGrid - 1) / kGrid,
                           VPI_IMAGE_FORMAT_2S16_BL, VPI_BACKEND_OFA | VPI_BACKEND_CPU, &vectors_),
            "to make a picture of vectors");
      check(vpiCreateOpticalFlowDense(VPI_BACKEND_OFA, width, height, kFormat, &grid, 1,
                                      VPI_OPTICAL_FLOW_QUALITY_MEDIUM, &payload_),
            "to prepare optical flow");
    } catch (...) {
      release();
      throw;
    }
  }
  ~HardwareFlow() { release(); }
  HardwareFlow(const HardwareFlow&) = delete;
  HardwareFlow& operator=(const HardwareFlow&) = delete;

  // Of a frame into that of the call before; nothing for the first. Valid until the next call.
  std::optional<stpl_rt::FlowView> next(VPIImage frame) {
    std::swap(current_, past_);
    check(vpiSubmitConvertImageFormat(stream_, VPI_BACKEND_VIC, frame, frames_[current_], nullptr),
          "to convert a frame");
    const bool first = std::exchange(first_, false);
    if (!first) {
      // The current frame as VPI's "previous": each block of it is looked for in the frame before.
      check(vpiSubmitOpticalFlowDense(stream_, VPI_BACKEND_OFA, payload_, frames_[current_], frames_[past_],
                                      vectors_),
            "to compute optical flow");
    }
    check(vpiStreamSync(stream_), "to wait for it");
    if (first) return std::nullopt;
    return read();
  }

 private:
  static constexpr std::int32_t kGrid = 4;
  static constexpr VPIImageFormat kFormat = VPI_IMAGE_FORMAT_NV12_ER_BL;

  stpl_rt::FlowView read() {
    VPIImageData data{};
    check(vpiImageLockData(vectors_, VPI_LOCK_READ, VPI_IMAGE_BUFFER_HOST_PITCH_LINEAR, &data),
          "to read the vectors");
    const VPIImagePlanePitchLinear& plane = data.buffer.pitch.planes[0];
    const stpl_rt::FlowView flow = to_flow({.data = static_cast<const std::int16_t*>(plane.data),
                                            .columns = plane.width,
                                            .rows = plane.height,
                                            .pitch = plane.pitchBytes,
                                            .picture_width = width_,
                                            .picture_height = height_},
                                           memory_);
    check(vpiImageUnlock(vectors_), "to give the vectors back");
    return flow;
  }

  void release() noexcept {
    vpiStreamDestroy(stream_);  // waits for what is on it
    vpiPayloadDestroy(payload_);
    vpiImageDestroy(vectors_);
    for (VPIImage frame : frames_) vpiImageDestroy(frame);
  }

  const int width_;
  const int height_;
  VPIStream stream_ = nullptr;
  VPIPayload payload_ = nullptr;
  VPIImage vectors_ = nullptr;
  std::array<VPIImage, 2> frames_ = {};
  std::size_t current_ = 0;
  std::size_t past_ = 1;
  bool first_ = true;
  std::vector<float> memory_;
};

}  // namespace jetson
