// In a build without TensorRT: networks run on the CPU.
#include <stpl_rt/error.h>

#include <string>

#include "engine/engine.h"

namespace stpl_rt {

// Weak: a program that brings another engine for GPUs, as the tests do with one that emulates it, runs that.
[[gnu::weak]] std::shared_ptr<const CompiledNetwork> compile_for_device(const NetworkSpec& /*network*/,
                                                                        int device, Precision /*precision*/,
                                                                        const PlanOptions& /*plans*/) {
  throw Error(ErrorCode::unsupported,
              "expected the device \"cpu\", the only one of this build, found \"cuda" +
                  (device == 0 ? "" : ":" + std::to_string(device)) +
                  "\"; use \"cpu\", or build with STPL_RT_TENSORRT=ON");
}

}  // namespace stpl_rt
