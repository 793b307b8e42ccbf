// In a build without an engine: everything but networks works.
#include <stpl_rt/error.h>

#include "engine/engine.h"

namespace stpl_rt {

std::shared_ptr<const CompiledNetwork> compile_network(const NetworkSpec& network,
                                                       const std::string& /*device*/, Precision /*precision*/,
                                                       int /*threads*/) {
  throw Error(ErrorCode::unsupported,
              network.file.filename().string() +
                  ": cannot be run, for stpl_rt was built without OpenVINO; configure "
                  "it with -DSTPL_RT_OPENVINO=ON");
}

}  // namespace stpl_rt
