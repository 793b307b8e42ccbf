// Runs one network on a GPU, on tensors that stay there.
#pragma once

#include <stpl_rt/bundle.h>

#include <cstddef>
#include <cstdint>

#include "core/cuda/handles.h"

namespace stpl_rt {

enum class TensorType { f32, f16 };

// How many a tensor holds.
inline std::size_t values_of(const TensorSpec& tensor) {
  std::size_t values = 1;
  for (const std::int64_t side : tensor.shape) values *= static_cast<std::size_t>(side);
  return values;
}

// One context of a network: one run at a time. Its tensors lie at the same addresses as long as it lives, so
// that runs can be recorded in graphs.
class DeviceEngine {
 public:
  virtual ~DeviceEngine() = default;
  DeviceEngine(const DeviceEngine&) = delete;
  DeviceEngine& operator=(const DeviceEngine&) = delete;

  // An input tensor in the device's memory, dense, in the manifest's order.
  [[nodiscard]] virtual void* input(std::size_t index) const noexcept = 0;
  [[nodiscard]] virtual TensorType input_type(std::size_t index) const noexcept = 0;
  // The output tensor likewise.
  [[nodiscard]] virtual const void* output() const noexcept = 0;
  [[nodiscard]] virtual TensorType output_type() const noexcept = 0;
  // Runs the network on what the work before on `stream` has written. Nothing waits. Throws Error(engine),
  // also where a graph is recorded and this cannot be.
  virtual void enqueue(cuda::StreamHandle stream) = 0;

 protected:
  DeviceEngine() = default;
};

}  // namespace stpl_rt
