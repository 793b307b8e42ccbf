// Frames of one size and format, one after the other at the same place in the device's memory.
#pragma once

#include <stpl_rt/frame.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/cuda/memory.h"
#include "core/cuda/pinned_staging.h"

namespace stpl_rt {

class FrameUpload {
 public:
  // Whether frames like this one would be staged as the latest were.
  [[nodiscard]] bool fits(const Frame& frame) const noexcept;
  // No frame fits any more.
  void forget() noexcept { staged_ = {}; }
  // Memory for frames like this one; nothing that reads what was staged may be on its way.
  void prepare(const Frame& frame);
  // Enqueues the copy of a frame that fits. Throws Error(invalid_argument) for rows that lie backwards on the
  // device.
  void upload(const Frame& frame, cuda::StreamHandle stream);
  [[nodiscard]] const Frame& staged() const noexcept { return staged_; }

 private:
  struct Plane {
    const std::uint8_t* data = nullptr;
    std::ptrdiff_t stride = 0;
    std::size_t row_bytes = 0;
    int rows = 0;
  };
  using Planes = std::array<Plane, 3>;

  static Planes planes_of(const Frame& frame);
  void send(const Planes& planes, cuda::StreamHandle stream);

  Frame staged_;  // without data: nothing is prepared
  Planes places_;
  std::size_t bytes_ = 0;
  cuda::DeviceBuffer<std::uint8_t> memory_;
  cuda::PinnedStaging staging_;
};

}  // namespace stpl_rt
