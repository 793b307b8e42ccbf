// Runs one network. Engines do nothing else: preprocessing and everything after the logits is ours.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/options.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "engine/device_engine.h"

namespace stpl_rt {

// One run of a compiled network at a time, its float32 inputs and its float32 output in host memory that the
// engine owns, so that none is copied.
class Engine {
 public:
  virtual ~Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // An input tensor, in the manifest's order; write here before infer() or start().
  [[nodiscard]] virtual std::span<float> input(std::size_t index) noexcept = 0;
  [[nodiscard]] std::span<float> input() noexcept { return input(0); }
  // Runs the network on what was written. Returns the output, dense, valid until the next run. Throws
  // Error(engine); the content of the output is then undefined.
  virtual std::span<const float> infer() = 0;
  // The same in the background: after start() nothing is written until wait() has returned the output. Each
  // throws Error(engine). The destructor waits, for no longer than it must.
  virtual void start() = 0;
  virtual std::span<const float> wait() = 0;
  // What was started is of no use any more: it ends as soon as the engine can end it, and wait(), which is to
  // be called all the same, may return anything and throw Error(engine). For an engine that cannot end a run,
  // nothing.
  virtual void cancel() noexcept {}

 protected:
  Engine() = default;
};

// A compiled network, for any number of streams; their runs queue for its threads.
class CompiledNetwork {
 public:
  virtual ~CompiledNetwork() = default;
  CompiledNetwork(const CompiledNetwork&) = delete;
  CompiledNetwork& operator=(const CompiledNetwork&) = delete;

  // Throws Error(engine).
  [[nodiscard]] virtual std::unique_ptr<Engine> make_engine() const = 0;
  // The same for tensors that stay on the GPU; Error(unsupported) of a network that runs elsewhere.
  [[nodiscard]] virtual std::unique_ptr<DeviceEngine> make_device_engine() const;

 protected:
  CompiledNetwork() = default;
};

// What may be done to get a plan, which is what TensorRT compiles a network to. "cpu" needs none.
struct PlanOptions {
  bool build = false;  // build one where the user's cache has none that fits
  bool trust = false;  // use one that came with the bundle: a plan is code
};

// Compiles `network` for `device` ("cpu", "cuda" or "cuda:N") at exactly `precision`, with `threads` threads,
// and checks its tensors against the manifest. Throws Error: unsupported (device, precision or a plan not
// available here), invalid_bundle (the file is not the network that the manifest describes), engine.
std::shared_ptr<const CompiledNetwork> compile_network(const NetworkSpec& network, const std::string& device,
                                                       Precision precision, int threads,
                                                       const PlanOptions& plans = {});

// The two halves of it: what OpenVINO does, and what TensorRT does. In a build without one they throw
// Error(unsupported).
std::shared_ptr<const CompiledNetwork> compile_for_cpu(const NetworkSpec& network, Precision precision,
                                                       int threads);
bool has_cpu_engine() noexcept;
std::shared_ptr<const CompiledNetwork> compile_for_device(const NetworkSpec& network, int device,
                                                          Precision precision, const PlanOptions& plans);

// The bytes of the network's file, which the manifest's hash vouches for: the file may have been written anew
// since the bundle was opened. All weights are inside. Throws Error: io, invalid_bundle.
std::string read_checked(const NetworkSpec& network);

}  // namespace stpl_rt
