#include <stpl_rt/error.h>

#include <chrono>
#include <exception>
#include <map>
#include <openvino/openvino.hpp>
#include <utility>
#include <vector>

#include "core/trace.h"
#include "engine/engine.h"
#include "engine/tensor_limit.h"
#include "text/printable.h"

namespace stpl_rt {
namespace {

// Of what comes out of the file.
constexpr std::size_t kShownOfName = 80;
constexpr std::size_t kShownOfOpenVino = 2000;

ov::element::Type element_type(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return ov::element::bf16;
    case Precision::f16:
      return ov::element::f16;
    case Precision::f32:
      break;
  }
  return ov::element::f32;
}

// Runs `body`; what OpenVINO throws becomes Error(engine). `doing` is text of any kind: a frame makes no
// string.
template <class Text, class F>
auto guarded(const Text& doing, F&& body) {
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(ErrorCode::engine,
                std::string("OpenVINO failed ") + doing + ": " + printable(error.what(), kShownOfOpenVino));
  }
}

std::string names_text(const std::unordered_set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "\"" : ", \"") + printable(name, kShownOfName) + "\"";
  }
  return text.empty() ? "no name" : text;
}

[[noreturn]] void refuse(const NetworkSpec& network, const std::string& what, const std::string& expected,
                         const std::string& found) {
  throw Error(ErrorCode::invalid_bundle, network.file.filename().string() + ": " + what + ": expected " +
                                             expected + " as the manifest says, found " + found);
}

void check_tensor(const NetworkSpec& network, const std::string& what, const ov::Output<ov::Node>& port,
                  const TensorSpec& spec) {
  if (!port.get_names().contains(spec.name)) {
    refuse(network, what, "a tensor named \"" + spec.name + "\"", names_text(port.get_names()));
  }
  if (port.get_element_type() != ov::element::f32) {
    refuse(network, what, "float32", port.get_element_type().to_string());
  }
  const ov::Shape shape(spec.shape.begin(), spec.shape.end());
  if (!port.get_partial_shape().compatible(shape)) {
    refuse(network, what, "the shape " + shape.to_string(), port.get_partial_shape().to_string());
  }
}

void check_size(const NetworkSpec& network, const ov::Model& model) {
  if (const auto giant = find_giant_tensor(model)) {
    throw Error(ErrorCode::invalid_bundle,
                network.file.filename().string() + ": expected tensors of at most 4 GiB, found " + *giant);
  }
}

// The network with exactly the manifest's tensors.
std::shared_ptr<ov::Model> read_network(ov::Core& core, const NetworkSpec& network) {
  const std::string bytes = read_checked(network);
  std::shared_ptr<ov::Model> model = core.read_model(bytes, ov::Tensor());
  if (model->inputs().size() != network.inputs.size() || model->outputs().size() != 1) {
    refuse(network, "tensors", std::to_string(network.inputs.size()) + " inputs and 1 output",
           std::to_string(model->inputs().size()) + " and " + std::to_string(model->outputs().size()));
  }
  std::map<std::string, ov::PartialShape> shapes;
  for (std::size_t i = 0; i < network.inputs.size(); ++i) {
    const TensorSpec& spec = network.inputs[i];
    check_tensor(network, "input", model->input(i), spec);
    shapes[spec.name] = ov::PartialShape(std::vector<ov::Dimension>(spec.shape.begin(), spec.shape.end()));
  }
  check_size(network, *model);
  if (model->is_dynamic()) model->reshape(shapes);
  check_size(network, *model);
  check_tensor(network, "output", model->output(), network.outputs.front());
  if (model->output().get_partial_shape().is_dynamic()) {
    refuse(network, "output", "a shape that follows from the inputs'",
           model->output().get_partial_shape().to_string());
  }
  return model;
}

// One for the process, never destroyed. OpenVINO's CPU plugin gives the thread that loads it a stack for
// signal handlers and frees it when it goes: with a plugin for each engine, engines whose lives overlap leave
// the thread with a freed one, and the next Ctrl-C crashes.
ov::Core& shared_core() {
  static auto* core = new ov::Core;
  return *core;
}

ov::CompiledModel compile(ov::Core& core, const NetworkSpec& network, Precision precision, int threads) {
  const ov::element::Type type = element_type(precision);
  ov::CompiledModel compiled =
      core.compile_model(read_network(core, network), "CPU", ov::hint::inference_precision(type),
                         ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY), ov::num_streams(1),
                         ov::inference_num_threads(threads),
                         // Pinned threads of several streams or processes would queue for the same cores.
                         ov::hint::enable_cpu_pinning(false));
  const auto used = compiled.get_property(ov::hint::inference_precision);
  if (used != type) {
    throw Error(ErrorCode::unsupported, std::string("precision ") + to_string(precision) +
                                            " is not available on this CPU (OpenVINO would use " +
                                            used.to_string() + "); use \"f32\"");
  }
  return compiled;
}

class OpenVinoEngine final : public Engine {
 public:
  explicit OpenVinoEngine(ov::CompiledModel compiled)
      : compiled_(std::move(compiled)), request_(compiled_.create_infer_request()) {
    for (std::size_t i = 0; i < compiled_.inputs().size(); ++i) {
      inputs_.push_back(request_.get_input_tensor(i));
    }
    output_ = request_.get_output_tensor();
    if (Trace::enabled()) {  // by the thread that ran it, before wait() returns
      request_.set_callback([this](const std::exception_ptr&) {
        Trace::add("network in the background", started_, std::chrono::steady_clock::now());
      });
    }
  }
  ~OpenVinoEngine() override {
    if (!running_) return;
    cancel();
    wait_for_cancelled();
  }

  std::span<float> input(std::size_t index) noexcept override {
    return {inputs_[index].data<float>(), inputs_[index].get_size()};
  }

  std::span<const float> infer() override {
    guarded("running the network", [&] { request_.infer(); });
    return output();
  }
  void start() override {
    started_ = std::chrono::steady_clock::now();
    guarded("starting the network", [&] { request_.start_async(); });
    running_ = true;
  }
  std::span<const float> wait() override {
    running_ = false;
    if (std::exchange(cancelled_, false)) {
      wait_for_cancelled();
    } else {
      guarded("running the network", [&] { request_.wait(); });
    }
    return output();
  }
  void cancel() noexcept override {
    cancelled_ = running_;
    try {
      request_.cancel();
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): then it runs to its end
    }
  }

 private:
  void wait_for_cancelled() noexcept {
    try {
      request_.wait();
    } catch (...) {  // NOLINT(bugprone-empty-catch): what it said is not wanted any more
    }
  }
  [[nodiscard]] std::span<const float> output() const { return {output_.data<float>(), output_.get_size()}; }

  ov::CompiledModel compiled_;
  ov::InferRequest request_;
  std::vector<ov::Tensor> inputs_;
  ov::Tensor output_;
  bool running_ = false;
  bool cancelled_ = false;
  Trace::Time started_;
};

class OpenVinoNetwork final : public CompiledNetwork {
 public:
  explicit OpenVinoNetwork(ov::CompiledModel compiled) : compiled_(std::move(compiled)) {}

  [[nodiscard]] std::unique_ptr<Engine> make_engine() const override {
    return guarded("making room for a run",
                   [&]() -> std::unique_ptr<Engine> { return std::make_unique<OpenVinoEngine>(compiled_); });
  }

 private:
  ov::CompiledModel compiled_;
};

}  // namespace

bool has_cpu_engine() noexcept { return true; }

std::shared_ptr<const CompiledNetwork> compile_for_cpu(const NetworkSpec& network, Precision precision,
                                                       int threads) {
  return guarded(
      "to compile " + network.file.filename().string(), [&]() -> std::shared_ptr<const CompiledNetwork> {
        return std::make_shared<OpenVinoNetwork>(compile(shared_core(), network, precision, threads));
      });
}

}  // namespace stpl_rt
