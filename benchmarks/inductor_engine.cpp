// PyTorch's AOTInductor as the engine for GPUs, so that frames can be measured around real networks where
// TensorRT is not or does not run. Linked into a program, it takes the place of the runtime's own
// (compile_for_device, no_tensorrt.cpp). A network's package, which benchmarks/inductor_packages.py makes,
// lies beside its file: segment.f16.pt2.
#include <ATen/ATen.h>
#include <stpl_rt/error.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <string>
#include <utility>
#include <vector>

#include "core/cuda/device.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "core/half.h"
#include "engine/engine.h"

#if defined(STPL_RT_CUDA_EMULATED)
#include "core/cuda/emulation.h"
#endif

namespace stpl_rt {
namespace {

#if defined(STPL_RT_CUDA_EMULATED)
constexpr at::DeviceType kDevice = at::kCPU;
#else
constexpr at::DeviceType kDevice = at::kCUDA;
#endif

// What all engines of a network share: how to load it, and its tensors' type.
struct Package {
  NetworkSpec network;
  std::filesystem::path file;
  int device = 0;
  TensorType type = TensorType::f32;

  [[nodiscard]] at::TensorOptions options() const {
    const auto index = static_cast<at::DeviceIndex>(kDevice == at::kCUDA ? device : -1);
    return at::TensorOptions(at::Device(kDevice, index))
        .dtype(type == TensorType::f16 ? at::kHalf : at::kFloat);
  }
  [[nodiscard]] std::size_t bytes(const TensorSpec& spec) const {
    return values_of(spec) * (type == TensorType::f16 ? sizeof(Half) : sizeof(float));
  }
};

// PyTorch's exceptions as ours, without their stack; what fails while a package runs is no c10::Error.
template <class Call>
auto said_by_torch(const Package& package, Call call) {
  const auto ours = [&](const char* text) {
    return Error(ErrorCode::engine, package.file.string() + ": " + text);
  };
  try {
    return call();
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    throw ours(error.what_without_backtrace());
  } catch (const std::exception& error) {
    throw ours(error.what());
  }
}

class InductorEngine final : public DeviceEngine {
 public:
  explicit InductorEngine(Package package)
      : package_(std::move(package)), loader_(load(package_)), output_bytes_(package_.bytes(output_spec())) {
    for (const TensorSpec& spec : package_.network.inputs) {
      auto& memory = memory_.emplace_back();
      memory.reserve(package_.bytes(spec));
      tensors_.push_back(at::from_blob(memory.data(), spec.shape, package_.options()));
    }
    output_.reserve(output_bytes_);
    warm_up();
  }

  [[nodiscard]] void* input(std::size_t index) const noexcept override { return memory_[index].data(); }
  [[nodiscard]] TensorType input_type(std::size_t /*index*/) const noexcept override { return package_.type; }
  [[nodiscard]] const void* output() const noexcept override { return output_.data(); }
  [[nodiscard]] TensorType output_type() const noexcept override { return package_.type; }

  void enqueue(cuda::StreamHandle stream) override {
#if defined(STPL_RT_CUDA_EMULATED)
    cuda::emulation::enqueue(stream, [this] { run(nullptr); });
#else
    run(stream);
#endif
  }

 private:
  // One run at a time, without events of its own, which a graph could not record.
  static torch::inductor::AOTIModelPackageLoader load(const Package& package) {
    return said_by_torch(package, [&] {
      return torch::inductor::AOTIModelPackageLoader(package.file.string(), "model",
                                                     /*run_single_threaded=*/true, 1,
                                                     package.options().device().index());
    });
  }
  [[nodiscard]] const TensorSpec& output_spec() const { return package_.network.outputs.front(); }

  // The output is copied to where it stays: PyTorch finds memory for it anew in each run, a graph keeps what
  // it found.
  void run(cuda::StreamHandle stream) {
    const at::Tensor logits = said_by_torch(package_, [&] { return loader_.run(tensors_, stream).at(0); });
    cuda::copy_bytes(output_.data(), logits.data_ptr(), output_bytes_, stream);
  }

  // What is loaded and allocated at a first run cannot be recorded; what the package gives is known after it.
  void warm_up() {
    const cuda::Stream stream;
    for (std::size_t i = 0; i < memory_.size(); ++i) {
      cuda::set_bytes(memory_[i].data(), 0, memory_[i].capacity(), stream.handle());
    }
    stream.wait();
    const at::Tensor logits =
        said_by_torch(package_, [&] { return loader_.run(tensors_, stream.handle()).at(0); });
    stream.wait();
    const auto wanted = package_.options();
    if (logits.sizes() != at::IntArrayRef(output_spec().shape) ||
        logits.scalar_type() != wanted.dtype().toScalarType() || !logits.is_contiguous() ||
        logits.device().type() != kDevice) {
      throw Error(ErrorCode::invalid_bundle, package_.file.string() +
                                                 ": expected dense logits as the manifest says, of " +
                                                 std::string(wanted.dtype().name()) + ", found " +
                                                 logits.toString() + " of other sides");
    }
  }

  const Package package_;
  std::vector<cuda::DeviceBuffer<std::byte>> memory_;
  std::vector<at::Tensor> tensors_;  // upon that memory
  cuda::DeviceBuffer<std::byte> output_;
  torch::inductor::AOTIModelPackageLoader loader_;
  const std::size_t output_bytes_;
};

class InductorNetwork final : public CompiledNetwork {
 public:
  explicit InductorNetwork(Package package) : package_(std::move(package)) {}
  [[nodiscard]] std::unique_ptr<Engine> make_engine() const override {
    throw Error(ErrorCode::unsupported, "AOTInductor's networks take and give tensors on a GPU alone");
  }
  [[nodiscard]] std::unique_ptr<DeviceEngine> make_device_engine() const override {
    const cuda::DeviceScope scope(package_.device);
    return std::make_unique<InductorEngine>(package_);
  }

 private:
  Package package_;
};

}  // namespace

std::shared_ptr<const CompiledNetwork> compile_for_device(const NetworkSpec& network, int device,
                                                          Precision precision, const PlanOptions& /*plans*/) {
  Package package{.network = network,
                  .file = network.file,
                  .device = device,
                  .type = precision == Precision::f16 ? TensorType::f16 : TensorType::f32};
  if (precision == Precision::bf16) throw Error(ErrorCode::unsupported, "expected f32 or f16, found bf16");
  package.file.replace_extension(std::string(to_string(precision)) + ".pt2");
  if (!std::filesystem::is_regular_file(package.file)) {
    throw Error(ErrorCode::io, package.file.string() +
                                   ": expected AOTInductor's package, found none; "
                                   "benchmarks/inductor_packages.py makes it");
  }
  return std::make_shared<InductorNetwork>(std::move(package));
}

}  // namespace stpl_rt
