#include "segmenter/device_network.h"

#include <type_traits>
#include <utility>
#include <vector>

#include "core/cuda/stream.h"
#include "core/half.h"
#include "ops/convert_cuda.h"
#include "ops/finite_cuda.h"
#include "ops/sample_argmax_cuda.h"

namespace stpl_rt {
namespace {

// Calls use(T{}) with the type of numbers that a tensor holds.
template <class Use>
void with_type(TensorType type, Use&& use) {
  if (type == TensorType::f16) {
    use(Half{});
  } else {
    use(0.F);
  }
}

template <class T>
cuda::PlanarLogits<T> planar(const DeviceEngine& engine, int classes, Size grid) {
  return {static_cast<const T*>(engine.output()), classes, grid.width, grid.height};
}

template <class T>
cuda::PackedLogits<T> packed(const cuda::DeviceBuffer<std::byte>& memory, int classes, Size grid) {
  return {reinterpret_cast<const T*>(memory.data()), classes, grid.width, grid.height};
}

}  // namespace

DeviceNetwork::DeviceNetwork(const Bundle& bundle, std::unique_ptr<DeviceEngine> engine, bool keeps)
    : classes_(static_cast<int>(bundle.classes.size())),
      grid_{bundle.logits.width, bundle.logits.height},
      engine_(std::move(engine)) {
  counts_.reserve(kept_.size());
  if (!keeps) return;
  for (auto& memory : kept_) {
    memory.reserve(cuda::packed_size(classes_, grid_.width, grid_.height) * sizeof(float));
  }
}

std::size_t DeviceNetwork::size() const noexcept {
  return static_cast<std::size_t>(classes_) * static_cast<std::size_t>(grid_.width) *
         static_cast<std::size_t>(grid_.height);
}

void DeviceNetwork::preprocess(const Frame& frame, const cuda::FramePlan& plan,
                               cuda::StreamHandle stream) const {
  with_type(engine_->input_type(0),
            [&]<class T>(T) { cuda::preprocess(frame, plan, static_cast<T*>(engine_->input(0)), stream); });
}

void DeviceNetwork::run(std::size_t kept, cuda::StreamHandle stream) {
  engine_->enqueue(stream);
  with_type(engine_->output_type(), [&]<class T>(T) {
    const auto logits = planar<T>(*engine_, classes_, grid_);
    cuda::count_not_finite(logits.data, size(), counts_.data() + kept, stream);
    if (kept_[kept].data() == nullptr) return;
    cuda::pack_logits(logits, reinterpret_cast<T*>(kept_[kept].data()), stream);
  });
}

void DeviceNetwork::read_count(std::size_t kept, int* to, cuda::StreamHandle stream) const {
  cuda::copy(to, counts_.data() + kept, 1, stream);
}

// Plans may take and give numbers of different precisions: where a mixed one ends in fp32, say.
void DeviceNetwork::give(DeviceNetwork& of, std::size_t index, cuda::StreamHandle stream) const {
  with_type(engine_->output_type(), [&]<class T>(T) {
    const T* const from = static_cast<const T*>(engine_->output());
    with_type(of.engine_->input_type(index), [&]<class U>(U) {
      U* const to = static_cast<U*>(of.engine_->input(index));
      if constexpr (std::is_same_v<T, U>) {
        cuda::copy(to, from, size(), stream);
      } else {
        cuda::convert(from, to, size(), stream);
      }
    });
  });
}

void DeviceNetwork::carry(std::size_t kept, const Geometry& geometry, const cuda::ConstFlowPlanes& flow,
                          DeviceNetwork& of, std::size_t index, cuda::StreamHandle stream) const {
  with_type(engine_->output_type(), [&]<class T>(T) {
    with_type(of.engine_->input_type(index), [&]<class U>(U) {
      cuda::carry_logits(packed<T>(kept_[kept], classes_, grid_), geometry, flow,
                         static_cast<U*>(of.engine_->input(index)), stream);
    });
  });
}

void DeviceNetwork::sample(const Geometry& geometry, const MapViews& out, cuda::StreamHandle stream) const {
  with_type(engine_->output_type(), [&]<class T>(T) {
    cuda::sample_argmax(planar<T>(*engine_, classes_, grid_), geometry, out.labels, out.confidence, stream);
  });
}

void DeviceNetwork::sample(std::size_t kept, const Geometry& geometry, const cuda::ConstFlowPlanes& flow,
                           ImageView<const float> validity, const MapViews& out,
                           cuda::StreamHandle stream) const {
  with_type(engine_->output_type(), [&]<class T>(T) {
    cuda::sample_argmax(packed<T>(kept_[kept], classes_, grid_), geometry, flow, validity, out.labels,
                        out.confidence, stream);
  });
}

template <class T>
void DeviceNetwork::to_host(const T* from, float* out, cuda::StreamHandle stream) {
  std::vector<T> values(size());
  cuda::copy(values.data(), from, values.size(), stream);
  cuda::Stream::wait_for(stream);
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = to_float(values[i]);
}

void DeviceNetwork::carry(std::size_t kept, const Geometry& geometry, const cuda::ConstFlowPlanes& flow,
                          float* out, cuda::StreamHandle stream) {
  carried_.reserve(size() * sizeof(float));
  with_type(engine_->output_type(), [&]<class T>(T) {
    T* const carried = reinterpret_cast<T*>(carried_.data());
    cuda::carry_logits(packed<T>(kept_[kept], classes_, grid_), geometry, flow, carried, stream);
    to_host(carried, out, stream);
  });
}

void DeviceNetwork::unpack(std::size_t kept, float* out, cuda::StreamHandle stream) const {
  with_type(engine_->output_type(), [&]<class T>(T) {
    const std::size_t pixels = size() / static_cast<std::size_t>(classes_);
    const auto logits = packed<T>(kept_[kept], classes_, grid_);
    const auto padded = static_cast<std::size_t>(4 * logits.quads());
    std::vector<T> values(pixels * padded);
    cuda::copy(values.data(), logits.data, values.size(), stream);
    cuda::Stream::wait_for(stream);
    for (std::size_t i = 0; i < size(); ++i) out[i] = to_float(values[i % pixels * padded + i / pixels]);
  });
}

void DeviceNetwork::read_logits(float* out, cuda::StreamHandle stream) {
  with_type(engine_->output_type(),
            [&]<class T>(T) { to_host(static_cast<const T*>(engine_->output()), out, stream); });
}

}  // namespace stpl_rt
