// The engine for GPUs in programs that emulate one: the networks run on the processor.
#include <stpl_rt/error.h>

#include <utility>

#include "core/cuda/device.h"
#include "emulation_counts.h"
#include "engine/engine.h"
#include "host_network_engine.h"

namespace stpl_rt {
namespace {

class EmulatedNetwork final : public CompiledNetwork {
 public:
  EmulatedNetwork(NetworkSpec spec, std::shared_ptr<const CompiledNetwork> network)
      : spec_(std::move(spec)), network_(std::move(network)) {}
  [[nodiscard]] std::unique_ptr<Engine> make_engine() const override { return network_->make_engine(); }
  [[nodiscard]] std::unique_ptr<DeviceEngine> make_device_engine() const override {
    return std::make_unique<test::HostNetworkEngine>(network_->make_engine(), spec_, TensorType::f32);
  }

 private:
  NetworkSpec spec_;
  std::shared_ptr<const CompiledNetwork> network_;
};

}  // namespace

std::shared_ptr<const CompiledNetwork> compile_for_device(const NetworkSpec& network, int device,
                                                          Precision precision, const PlanOptions& /*plans*/) {
  cuda::require_device(device);
  ++cuda::emulation::counts().networks;
  return std::make_shared<EmulatedNetwork>(network, compile_for_cpu(network, precision, 1));
}

}  // namespace stpl_rt
