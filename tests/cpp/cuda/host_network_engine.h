// A network on the processor behind the interface of those on a GPU, so that streams can be compared where no
// engine for GPUs is: its tensors lie on the device, and go to the host and back around each run.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/cuda/memory.h"
#include "core/half.h"
#include "engine/device_engine.h"
#include "engine/engine.h"
#include "plain_engine.h"

#if defined(STPL_RT_CUDA_EMULATED)
#include "core/cuda/emulation.h"
#else
#include "core/cuda/error.h"
#endif

namespace stpl_rt::test {

class HostNetworkEngine final : public DeviceEngine {
 public:
  // What is taken and given is of `type`.
  HostNetworkEngine(std::unique_ptr<Engine> engine, const NetworkSpec& spec, TensorType type)
      : engine_(std::move(engine)), outputs_(values_of(spec.outputs.front())), type_(type) {
    for (const TensorSpec& tensor : spec.inputs) {
      Input& input = inputs_.emplace_back();
      input.type = type;
      input.values = values_of(tensor);
      input.device.reserve(input.values * sizeof(float));
      input.host.reserve(input.values * sizeof(float));
    }
    device_output_.reserve(outputs_ * sizeof(float));
    host_output_.reserve(outputs_ * sizeof(float));
  }

  [[nodiscard]] void* input(std::size_t index) const noexcept override {
    return inputs_[index].device.data();
  }
  [[nodiscard]] TensorType input_type(std::size_t index) const noexcept override {
    return inputs_[index].type;
  }
  [[nodiscard]] const void* output() const noexcept override { return device_output_.data(); }
  [[nodiscard]] TensorType output_type() const noexcept override { return type_; }

  void enqueue(cuda::StreamHandle stream) override {
    for (const Input& input : inputs_) {
      cuda::copy(input.host.data(), input.device.data(), input.values * size_of(input.type), stream);
    }
#if defined(STPL_RT_CUDA_EMULATED)
    cuda::emulation::enqueue(stream, [this] { run(); });
#else
    const auto call = [](void* self) { static_cast<HostNetworkEngine*>(self)->run(); };
    cuda::check(cudaLaunchHostFunc(stream, call, this), "calling the host");
#endif
    cuda::copy(device_output_.data(), host_output_.data(), outputs_ * size_of(type_), stream);
  }

  [[nodiscard]] int runs() const noexcept { return runs_; }

 private:
  struct Input {
    TensorType type = TensorType::f32;
    std::size_t values = 0;
    cuda::DeviceBuffer<std::byte> device;
    cuda::PinnedBuffer<std::byte> host;
  };
  static std::size_t size_of(TensorType type) {
    return type == TensorType::f16 ? sizeof(Half) : sizeof(float);
  }

  // A failure cannot be thrown through a stream: it shows as values that are not finite.
  void run() noexcept {
    ++runs_;
    for (std::size_t i = 0; i < inputs_.size(); ++i) read(inputs_[i], engine_->input(i));
    std::span<const float> found;
    try {
      found = engine_->infer();
    } catch (...) {  // NOLINT(bugprone-empty-catch)
    }
    for (std::size_t i = 0; i < outputs_; ++i) {
      const float value = found.empty() ? std::numeric_limits<float>::quiet_NaN() : found[i];
      if (type_ == TensorType::f16) {
        reinterpret_cast<Half*>(host_output_.data())[i] = from_float<Half>(value);
      } else {
        reinterpret_cast<float*>(host_output_.data())[i] = value;
      }
    }
  }
  static void read(const Input& from, std::span<float> to) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i] = from.type == TensorType::f16 ? to_float(reinterpret_cast<const Half*>(from.host.data())[i])
                                           : reinterpret_cast<const float*>(from.host.data())[i];
    }
  }

  std::unique_ptr<Engine> engine_;
  std::vector<Input> inputs_;
  const std::size_t outputs_;
  const TensorType type_;
  cuda::DeviceBuffer<std::byte> device_output_;
  cuda::PinnedBuffer<std::byte> host_output_;
  int runs_ = 0;
};

}  // namespace stpl_rt::test
