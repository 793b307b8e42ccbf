// Builds TensorRT plans with the C++ parser, so that a device needs neither Python nor PyTorch.
#pragma once

#include <stpl_rt/bundle.h>

#include <string>
#include <vector>

#include "engine/plan_sidecar.h"

namespace stpl_rt {

struct BuiltPlan {
  std::string bytes;
  std::vector<PlanTensor> tensors;
};

// The plan of `model`, the content of the network's file, for the calling thread's GPU; TensorRT for RTX
// builds without one, for every GPU from compute capability 8.0 on. Throws Error: invalid_bundle (not the
// network that the manifest describes), unsupported (what TensorRT is known to compute wrongly, or a version
// that does not go with our headers), engine with TensorRT's text.
BuiltPlan build_plan(const std::string& model, const NetworkSpec& network);

}  // namespace stpl_rt
