#include "engine/tensorrt_context.h"

#include <stpl_rt/error.h>

#include <utility>

#include "core/cuda/stream.h"
#include "core/half.h"
#include "engine/plan_sidecar.h"
#include "engine/tensorrt_library.h"
#include "engine/tensorrt_types.h"

namespace stpl_rt {
namespace {

std::vector<PlanTensor> tensors_of(const nvinfer1::ICudaEngine& engine) {
  std::vector<PlanTensor> tensors;
  for (int i = 0; i < engine.getNbIOTensors(); ++i) {
    const char* const name = engine.getIOTensorName(i);
    tensors.push_back({.name = name,
                       .is_input = engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT,
                       .shape = shape_of(engine.getTensorShape(name)),
                       .type = type_name(engine.getTensorDataType(name))});
  }
  return tensors;
}

nvinfer1::Dims dims_of(const std::vector<std::int64_t>& shape) {
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<std::int32_t>(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) dims.d[i] = shape[i];
  return dims;
}

}  // namespace

std::shared_ptr<const LoadedPlan> load_engine(const std::string& plan, const NetworkSpec& network, int device,
                                              std::optional<int> dla_core) {
  const std::string name = network.file.filename().string();
  TensorRtLog& log = TensorRtLog::shared();
  (void)log.take();
  auto loaded = std::make_shared<LoadedPlan>();
  loaded->network = network;
  loaded->device = device;
  loaded->runtime.reset(nvinfer1::createInferRuntime(log));
  if (loaded->runtime == nullptr) fail_in_tensorrt("to start its runtime");
  if (dla_core) loaded->runtime->setDLACore(*dla_core);
  loaded->engine.reset(loaded->runtime->deserializeCudaEngine(plan.data(), plan.size()));
  if (loaded->engine == nullptr) fail_in_tensorrt("to load the plan of " + name);
  if (const auto fault = tensors_fault(tensors_of(*loaded->engine), network)) {
    throw Error(ErrorCode::invalid_bundle, "the plan of " + name + ": " + *fault);
  }
  return loaded;
}

TensorRtContext::TensorRtContext(std::shared_ptr<const LoadedPlan> plan) : plan_(std::move(plan)) {
  // Not const in TensorRT's words, but contexts of one engine may be made by several threads.
  context_.reset(plan_->engine->createExecutionContext());
  if (context_ == nullptr) fail_in_tensorrt("to make a context");
  for (const TensorSpec& spec : plan_->network.inputs) inputs_.push_back(bind(spec, true));
  output_ = bind(plan_->network.outputs.front(), false);
  warm_up();
}

TensorRtContext::Tensor TensorRtContext::bind(const TensorSpec& spec, bool is_input) {
  const char* const name = spec.name.c_str();
  Tensor tensor;
  tensor.count = values_of(spec);
  const bool half = plan_->engine->getTensorDataType(name) == nvinfer1::DataType::kHALF;
  tensor.type = half ? TensorType::f16 : TensorType::f32;
  tensor.memory.reserve(tensor.count * (half ? sizeof(Half) : sizeof(float)));
  if (is_input && !context_->setInputShape(name, dims_of(spec.shape))) {
    fail_in_tensorrt("to set the shape of \"" + spec.name + "\"");
  }
  if (!context_->setTensorAddress(name, tensor.memory.data())) {
    fail_in_tensorrt("to bind \"" + spec.name + "\"");
  }
  return tensor;
}

// What TensorRT compiles, loads or allocates at the first run cannot be recorded in a graph.
void TensorRtContext::warm_up() {
  const cuda::Stream stream;
  for (const Tensor& tensor : inputs_) {
    cuda::set_bytes(tensor.memory.data(), 0, tensor.memory.capacity(), stream.handle());
  }
  enqueue(stream.handle());
  stream.wait();
}

void TensorRtContext::enqueue(cuda::StreamHandle stream) {
  if (!context_->enqueueV3(stream)) fail_in_tensorrt("to run the network");
}

}  // namespace stpl_rt
