#include "engine/tensorrt_builder.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <stpl_rt/error.h>

#include <memory>

#include "engine/onnx_file.h"
#include "engine/tensorrt_library.h"
#include "engine/tensorrt_types.h"
#include "text/printable.h"

namespace stpl_rt {
namespace {

constexpr std::size_t kShownOfParser = 2000;
constexpr const char* kUnportable = "GridSample";

// With headers of TensorRT and the library of TensorRT for RTX not all functions of a network are where they
// seem to be: neither layers nor tensors may be changed here, only read.
std::vector<PlanTensor> tensors_of(const nvinfer1::INetworkDefinition& network) {
  std::vector<PlanTensor> tensors;
  const auto add = [&](const nvinfer1::ITensor& tensor, bool is_input) {
    tensors.push_back({.name = tensor.getName(),
                       .is_input = is_input,
                       .shape = shape_of(tensor.getDimensions()),
                       .type = type_name(tensor.getType())});
  };
  for (int i = 0; i < network.getNbInputs(); ++i) add(*network.getInput(i), true);
  for (int i = 0; i < network.getNbOutputs(); ++i) add(*network.getOutput(i), false);
  return tensors;
}

std::string errors_of(const nvonnxparser::IParser& parser) {
  std::string text;
  for (int i = 0; i < parser.getNbErrors(); ++i) {
    const nvonnxparser::IParserError& error = *parser.getError(i);
    text += (i == 0 ? "" : "; ") + std::string(error.nodeOperator()) + " \"" + error.nodeName() +
            "\": " + error.desc();
  }
  return printable(text, kShownOfParser);
}

void check_operators(const std::string& model, const NetworkSpec& network) {
  if (!has_operator(model, kUnportable)) return;
  throw Error(ErrorCode::unsupported, network.file.filename().string() + ": expected a network without " +
                                          kUnportable +
                                          ", which some versions of TensorRT compute wrongly, found one; "
                                          "export it with stpl-adapt, which warps outside of the network");
}

void parse(nvonnxparser::IParser& parser, const std::string& model, const NetworkSpec& network) {
  if (parser.parse(model.data(), model.size())) return;
  const std::string text = errors_of(parser);
  throw Error(ErrorCode::engine, "TensorRT cannot read " + network.file.filename().string() + ": " +
                                     (text.empty() ? TensorRtLog::shared().take() : text));
}

std::uint32_t creation_flags() {
#if NV_TENSORRT_MAJOR == 10
  // Up to version 10 types are free unless this says otherwise; later ones know nothing else.
  return 1U << static_cast<std::uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#else
  return 0;
#endif
}

template <class T>
std::unique_ptr<T> made(T* pointer, const char* what) {
  if (pointer == nullptr) fail_in_tensorrt(std::string("to make ") + what);
  return std::unique_ptr<T>(pointer);
}

}  // namespace

BuiltPlan build_plan(const std::string& model, const NetworkSpec& network) {
  require_tensorrt();
  check_operators(model, network);
  TensorRtLog& log = TensorRtLog::shared();
  (void)log.take();
  const auto builder = made(nvinfer1::createInferBuilder(log), "a builder");
  const auto definition = made(builder->createNetworkV2(creation_flags()), "a network");
  const auto parser = made(nvonnxparser::createParser(*definition, log), "an ONNX parser");
  parse(*parser, model, network);
  BuiltPlan plan{.bytes = {}, .tensors = tensors_of(*definition)};
  if (const auto fault = tensors_fault(plan.tensors, network)) {
    throw Error(ErrorCode::invalid_bundle, network.file.filename().string() + ": " + *fault);
  }
  const auto config = made(builder->createBuilderConfig(), "a build configuration");
  config->clearFlag(nvinfer1::BuilderFlag::kTF32);
  const std::unique_ptr<nvinfer1::IHostMemory> bytes(builder->buildSerializedNetwork(*definition, *config));
  if (bytes == nullptr) fail_in_tensorrt("to build " + network.file.filename().string());
  plan.bytes.assign(static_cast<const char*>(bytes->data()), bytes->size());
  return plan;
}

}  // namespace stpl_rt
