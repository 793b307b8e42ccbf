// Engines of the tests, whose tensors lie in ordinary memory.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/engine.h"

namespace stpl_rt::test {

// What infer() does is the derived ones'.
class PlainEngine : public Engine {
 public:
  explicit PlainEngine(const NetworkSpec& spec) : output_(values_of(spec.outputs.front())) {
    for (const TensorSpec& tensor : spec.inputs) inputs_.emplace_back(values_of(tensor));
  }
  [[nodiscard]] std::span<float> input(std::size_t index) noexcept override { return inputs_[index]; }
  // Done at once: what is late for a stream is late by its frames, whenever it is ready.
  void start() override { (void)infer(); }
  std::span<const float> wait() override { return output_; }

 protected:
  std::vector<std::vector<float>> inputs_;
  std::vector<float> output_;
};

}  // namespace stpl_rt::test
