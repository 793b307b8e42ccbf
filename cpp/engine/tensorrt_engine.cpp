// Networks on NVIDIA GPUs, with TensorRT.
#include <stpl_rt/error.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/cuda/device.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "core/half.h"
#include "engine/engine.h"
#include "engine/tensorrt_context.h"
#include "engine/tensorrt_library.h"
#include "engine/tensorrt_plans.h"

namespace stpl_rt {
namespace {

// Host memory beside a tensor of the device: floats for our caller, the tensor's type for the copy.
class HostTensor {
 public:
  HostTensor(TensorType type, std::size_t count) : count_(count) {
    floats_.reserve(count);
    std::fill_n(floats_.data(), count, 0.F);
    if (type == TensorType::f16) halves_.reserve(count);
  }
  [[nodiscard]] std::span<float> floats() const noexcept { return {floats_.data(), count_}; }

  void to_device(void* to, cuda::StreamHandle stream) {
    if (is_half()) std::transform(begin(), begin() + count_, halves_.data(), from_float<Half>);
    cuda::copy_bytes(to, is_half() ? static_cast<const void*>(halves_.data()) : floats_.data(), bytes(),
                     stream);
  }
  void from_device(const void* from, cuda::StreamHandle stream) {
    cuda::copy_bytes(is_half() ? static_cast<void*>(halves_.data()) : floats_.data(), from, bytes(), stream);
  }
  // After from_device() is done.
  [[nodiscard]] std::span<const float> read() {
    if (is_half()) {
      std::transform(halves_.data(), halves_.data() + count_, begin(), [](Half h) { return to_float(h); });
    }
    return floats();
  }

 private:
  [[nodiscard]] bool is_half() const noexcept { return halves_.data() != nullptr; }
  [[nodiscard]] float* begin() const noexcept { return floats_.data(); }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return count_ * (is_half() ? sizeof(Half) : sizeof(float));
  }

  std::size_t count_;
  cuda::PinnedBuffer<float> floats_;
  cuda::PinnedBuffer<Half> halves_;  // empty where the tensor is float32
};

// A network between host memory and host memory, on a stream of its own.
class TensorRtEngine final : public Engine {
 public:
  explicit TensorRtEngine(const std::shared_ptr<const LoadedPlan>& plan)
      : device_(plan->device), context_(plan), output_(context_.output_type(), context_.output_count()) {
    for (std::size_t i = 0; i < context_.inputs(); ++i) {
      inputs_.emplace_back(context_.input_type(i), context_.input_count(i));
    }
  }
  ~TensorRtEngine() override {
    try {
      const cuda::DeviceScope scope(device_);
      stream_.wait();
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): what it said is not wanted any more
    }
  }

  std::span<float> input(std::size_t index) noexcept override { return inputs_[index].floats(); }
  std::span<const float> infer() override {
    start();
    return wait();
  }
  void start() override {
    const cuda::DeviceScope scope(device_);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      inputs_[i].to_device(context_.input(i), stream_.handle());
    }
    context_.enqueue(stream_.handle());
    output_.from_device(context_.output(), stream_.handle());
    done_.record(stream_.handle());
  }
  std::span<const float> wait() override {
    const cuda::DeviceScope scope(device_);
    done_.wait();
    return output_.read();
  }

 private:
  const int device_;
  TensorRtContext context_;
  std::vector<HostTensor> inputs_;
  HostTensor output_;
  cuda::Stream stream_;
  cuda::Event done_;
};

class TensorRtNetwork final : public CompiledNetwork {
 public:
  explicit TensorRtNetwork(std::shared_ptr<const LoadedPlan> plan) : plan_(std::move(plan)) {}

  [[nodiscard]] std::unique_ptr<Engine> make_engine() const override {
    const cuda::DeviceScope scope(plan_->device);
    return std::make_unique<TensorRtEngine>(plan_);
  }
  [[nodiscard]] std::unique_ptr<DeviceEngine> make_device_engine() const override {
    const cuda::DeviceScope scope(plan_->device);
    return std::make_unique<TensorRtContext>(plan_);
  }

 private:
  std::shared_ptr<const LoadedPlan> plan_;
};

}  // namespace

std::shared_ptr<const CompiledNetwork> compile_for_device(const NetworkSpec& network, int device,
                                                          Precision precision, const PlanOptions& plans) {
  require_tensorrt();
  const cuda::DeviceScope scope(device);  // before TensorRT: without a driver parts of it crash
  const Plan plan = obtain_plan(network, device, precision, plans);
  return std::make_shared<TensorRtNetwork>(load_engine(plan.bytes, network, device, plan.dla_core));
}

}  // namespace stpl_rt
