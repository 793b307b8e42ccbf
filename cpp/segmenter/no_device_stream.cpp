// In a build without our kernels for GPUs: the network's engine takes its input from the host and gives its
// output back, and all else runs on the CPU.
#include <stpl_rt/error.h>

#include "segmenter/stream.h"

namespace stpl_rt {

// Weak: a program that brings another, as the tests do with a GPU that is emulated, runs that.
[[gnu::weak]] std::unique_ptr<VideoStream> make_device_stream(const Bundle& bundle,
                                                              const SegmenterOptions& options, int /*device*/,
                                                              const StreamNetworks& networks) {
  if (options.device_labels || options.cuda_stream != nullptr) {
    throw Error(ErrorCode::unsupported,
                "device_labels, cuda_stream: expected a build with STPL_RT_CUDA=ON, found one without");
  }
  return std::make_unique<Stream>(bundle, options, networks);
}

}  // namespace stpl_rt
