// In a build without our kernels for GPUs.
#include <stpl_rt/error.h>

#include <string>

#include "flow/device_flow_cuda.h"

namespace stpl_rt {

// Weak: a program that brings another, as the tests do with a GPU that is emulated, runs that.
[[gnu::weak]] std::unique_ptr<DeviceFlow> make_device_flow(const DisOptions& /*options*/, int device) {
  throw Error(
      ErrorCode::unsupported,
      R"(device: expected "cpu", as this build is without kernels for GPUs (STPL_RT_CUDA=ON), found "cuda:)" +
          std::to_string(device) + "\"");
}

}  // namespace stpl_rt
