// In a build without OpenVINO: everything but networks works, or networks on a GPU alone.
#include <stpl_rt/error.h>

#include "engine/engine.h"

namespace stpl_rt {

bool has_cpu_engine() noexcept { return false; }

std::shared_ptr<const CompiledNetwork> compile_for_cpu(const NetworkSpec& network, Precision /*precision*/,
                                                       int /*threads*/) {
  throw Error(ErrorCode::unsupported,
              network.file.filename().string() +
                  ": cannot be run, for stpl_rt was built without OpenVINO; configure "
                  "it with -DSTPL_RT_OPENVINO=ON");
}

}  // namespace stpl_rt
