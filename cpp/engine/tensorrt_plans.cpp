#include "engine/tensorrt_plans.h"

#include <cuda_runtime_api.h>
#include <stpl_rt/error.h>

#include <utility>

#include "core/cuda/error.h"
#include "engine/onnx_file.h"
#include "engine/tensorrt_builder.h"
#include "engine/tensorrt_library.h"
#include "text/printable.h"

namespace stpl_rt {
namespace {

constexpr std::size_t kShown = 120;

PlanDevice describe(int device) {
  cudaDeviceProp properties{};
  cuda::check(cudaGetDeviceProperties(&properties, device), "what the device is");
  return {.name = properties.name, .compute_capability = 10 * properties.major + properties.minor};
}

// TensorRT computes in the types that the file states: what was asked for must be those.
void check_precision(const NetworkSpec& network, const std::string& stored, Precision asked) {
  const bool same = (stored == "fp32" && asked == Precision::f32) ||
                    (stored == "fp16" && asked == Precision::f16) ||
                    (stored == "bf16" && asked == Precision::bf16) || stored == "int8";
  if (same) return;
  throw Error(ErrorCode::unsupported,
              network.file.filename().string() + ": expected a network stored in " + to_string(asked) +
                  ", the precision asked for, found " + stored +
                  ": TensorRT computes in the types of the file; ask for that precision, or export with "
                  "another (stpl-adapt export --precision)");
}

PlanRequest request_for(const NetworkSpec& network, int device, const std::string& precision) {
  const TensorRtVersion version = tensorrt_library();
  return {.library = version.library(),
          .library_version = version.number(),
          .device = describe(device),
          .network = network,
          .precision = precision};
}

void add(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

[[noreturn]] void refuse(const PlanRequest& request, int device, const std::vector<std::string>& reasons,
                         const PlanOptions& options) {
  std::string text = request.network.file.filename().string() + ": expected a TensorRT plan for " +
                     printable(request.device.name, kShown) + " and " + request.library + " " +
                     request.library_version + " in " + plans_folder().string() + ", found ";
  for (std::size_t i = 0; i < reasons.size(); ++i) text += (i == 0 ? "" : "; ") + reasons[i];
  if (reasons.empty()) text += "none";
  text += "; build it here with stpl-segment BUNDLE INPUT --device cuda:" + std::to_string(device) +
          " --build-engines (the option build_engines), or with stpl-adapt export --tensorrt";
  if (!options.trust && !request.network.plans.empty()) {
    text += "; the bundle brings " + std::to_string(request.network.plans.size()) +
            ", used only with trust_engines: a plan is code";
  }
  throw Error(ErrorCode::unsupported, text);
}

Plan build_and_keep(const PlanRequest& request, const std::string& model) {
  if (request.library == "tensorrt_rtx" && !covers("sm80-up", request.device, request.library)) {
    throw Error(
        ErrorCode::unsupported,
        "expected a GPU of compute capability 8.0 or later to build a plan with TensorRT for RTX, found " +
            printable(request.device.name, kShown) + "; name its capability to stpl-adapt export --tensorrt");
  }
  BuiltPlan built = build_plan(model, request.network);
  auto file = write_plan(plans_folder(), own_identity(request), built.bytes, built.tensors);
  return {.file = std::move(file), .bytes = std::move(built.bytes)};
}

}  // namespace

Plan obtain_plan(const NetworkSpec& network, int device, Precision precision, const PlanOptions& options) {
  const std::string model = read_checked(network);
  const std::string stored = stored_precision(model);
  check_precision(network, stored, precision);
  const PlanRequest request = request_for(network, device, stored);
  PlanSearch found = find_plan(plans_folder(), request);
  if (found.plan) return std::move(*found.plan);
  std::vector<std::string> reasons = std::move(found.reasons);
  if (options.trust) {
    for (const PlanSpec& plan : network.plans) {
      PlanSearch brought = load_plan(plan.file, request, plan.sha256);
      if (brought.plan) return std::move(*brought.plan);
      add(reasons, brought.reasons);
    }
  }
  if (options.build) return build_and_keep(request, model);
  refuse(request, device, reasons, options);
}

}  // namespace stpl_rt
