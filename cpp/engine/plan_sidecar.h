// What is known of a TensorRT plan: the JSON beside it, as the exporter writes it too, and whether a plan is
// the one that is asked for.
#pragma once

#include <stpl_rt/bundle.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace stpl_rt {

struct PlanTensor {
  std::string name;
  bool is_input = true;
  std::vector<std::int64_t> shape;  // -1 where the batch may vary
  std::string type;                 // "float32", "float16"
};

// Where any of it differs, it is another plan.
struct PlanIdentity {
  std::string library;          // "tensorrt" or "tensorrt_rtx"
  std::string library_version;  // plans are not carried from one version to another
  std::string target;           // what it runs on; see covers()
  std::string network;          // "segment", "fuse" or "update"
  std::string network_sha256;   // of the ONNX file that it was built from
  std::string precision;        // of the network as that file stores it: "fp32", "fp16", "bf16", "int8"
  std::string settings;         // of the build, compact JSON
};

// The core of a Jetson's deep-learning accelerator that the settings of a plan name; nothing for the GPU
// alone.
std::optional<int> dla_core_of(const PlanIdentity& identity);

struct PlanSidecar {
  PlanIdentity identity;
  std::vector<PlanTensor> tensors;
  std::uint64_t plan_bytes = 0;
  std::string plan_sha256;
};

// The settings of plans that stpl_rt builds: a batch of 1, and TensorRT's own choice of everything else but
// TF32, which rounds float32 factors to 10 bits.
extern const char* const kDefaultSettings;

// Throws Error(invalid_bundle) naming the field of `document`.
PlanSidecar parse_sidecar(const std::string& text, const std::string& document);
std::string to_json(const PlanSidecar& sidecar);

// A GPU as plans see it.
struct PlanDevice {
  std::string name;            // in CUDA's words
  int compute_capability = 0;  // 89 is 8.9
};

// What a plan must be for.
struct PlanRequest {
  std::string library;
  std::string library_version;
  PlanDevice device;
  NetworkSpec network;
  std::string precision;
};

// Of the plan that stpl_rt builds for the request itself.
PlanIdentity own_identity(const PlanRequest& request);

// The target of a plan that is built on `device`: TensorRT's plans are for one GPU ("nvidia-h200-sm90"),
// those of TensorRT for RTX for all from compute capability 8.0 on ("sm80-up").
std::string target_of(const PlanDevice& device, const std::string& library);
// Whether plans for `target` run on the device. Those of TensorRT for RTX may name capabilities: "sm86-sm89".
bool covers(const std::string& target, const PlanDevice& device, const std::string& library);

// Why the plan is not the one that is asked for; nothing where it is.
std::optional<std::string> plan_fault(const PlanSidecar& sidecar, const PlanRequest& request);
// Why these are not the network's tensors, a batch of 1.
std::optional<std::string> tensors_fault(const std::vector<PlanTensor>& tensors, const NetworkSpec& network);

}  // namespace stpl_rt
