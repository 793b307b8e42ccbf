// Optical flow between images of the host, searched on a GPU: for programs that need the flow and no more.
#pragma once

#include <cstdint>
#include <memory>

#include "core/image.h"
#include "flow/dis.h"
#include "ops/compose.h"

namespace stpl_rt {

class DeviceFlow {
 public:
  DeviceFlow() = default;
  virtual ~DeviceFlow() = default;
  DeviceFlow(const DeviceFlow&) = delete;
  DeviceFlow& operator=(const DeviceFlow&) = delete;

  // As DisFlow::compute(). Waits for the GPU; one call at a time.
  virtual void compute(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                       FlowField& out) = 0;
};

// On GPU `device`, in a stream of its own. Throws Error(unsupported) where the machine has no GPU or this
// build no kernels for one, Error(invalid_argument) for options or a number of a GPU out of range.
std::unique_ptr<DeviceFlow> make_device_flow(const DisOptions& options, int device);

}  // namespace stpl_rt
