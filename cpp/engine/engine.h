// Runs one network. Engines do nothing else: preprocessing and everything after the logits is ours.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/options.h>

#include <memory>
#include <span>
#include <string>

namespace stpl_rt {

// A compiled network with one float32 input and one float32 output, both in host memory that the engine
// owns, so that neither is copied.
class Engine {
 public:
  virtual ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Planes of the input tensor, (3, height, width); write here before infer().
  [[nodiscard]] virtual std::span<float> input() noexcept = 0;
  // Runs the network on input(). Returns the planes of the logits, (classes, height, width), which stay
  // valid until the next call. Throws Error(engine); the content of the logits is then undefined.
  virtual std::span<const float> infer() = 0;

 protected:
  Engine() = default;
};

// Compiles `network` for `device` ("cpu") at exactly `precision`, with `threads` threads, and checks its
// tensors against the manifest. Throws Error: unsupported (device or precision not available here),
// invalid_bundle (the file is not the network that the manifest describes), engine.
std::unique_ptr<Engine> make_engine(const NetworkSpec& network, const std::string& device,
                                    Precision precision, int threads);

}  // namespace stpl_rt
