// A loaded plan, and a context that runs it. For our own sources alone: it includes TensorRT's headers.
#pragma once

#include <NvInferRuntime.h>
#include <stpl_rt/bundle.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/cuda/memory.h"
#include "engine/device_engine.h"

namespace stpl_rt {

// What all contexts of a network share.
struct LoadedPlan {
  NetworkSpec network;
  int device = 0;
  // An engine goes before the runtime that made it.
  std::unique_ptr<nvinfer1::IRuntime> runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
};

// On the calling thread's device, which must be `device`. Throws Error: engine with TensorRT's text (a plan
// that is cut off, or for another GPU or version), invalid_bundle (other tensors than the manifest's).
std::shared_ptr<const LoadedPlan> load_engine(const std::string& plan, const NetworkSpec& network, int device,
                                              std::optional<int> dla_core = std::nullopt);

// Tensors of the device, bound once. The calling thread's device must be the plan's in each call.
class TensorRtContext final : public DeviceEngine {
 public:
  explicit TensorRtContext(std::shared_ptr<const LoadedPlan> plan);

  [[nodiscard]] void* input(std::size_t index) const noexcept override { return inputs_[index].data(); }
  [[nodiscard]] TensorType input_type(std::size_t index) const noexcept override {
    return inputs_[index].type;
  }
  [[nodiscard]] const void* output() const noexcept override { return output_.data(); }
  [[nodiscard]] TensorType output_type() const noexcept override { return output_.type; }
  void enqueue(cuda::StreamHandle stream) override;

  [[nodiscard]] std::size_t inputs() const noexcept { return inputs_.size(); }
  [[nodiscard]] std::size_t input_count(std::size_t index) const noexcept { return inputs_[index].count; }
  [[nodiscard]] std::size_t output_count() const noexcept { return output_.count; }

 private:
  struct Tensor {
    [[nodiscard]] void* data() const noexcept { return memory.data(); }
    TensorType type = TensorType::f32;
    std::size_t count = 0;
    cuda::DeviceBuffer<std::byte> memory;
  };
  Tensor bind(const TensorSpec& spec, bool is_input);
  void warm_up();

  const std::shared_ptr<const LoadedPlan> plan_;
  // Before the context: it goes first.
  std::vector<Tensor> inputs_;
  Tensor output_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

}  // namespace stpl_rt
