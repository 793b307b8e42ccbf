// propagation.h on the GPU: the way from the latest frame of a stream back to one key frame.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/cuda/memory.h"
#include "core/image.h"
#include "ops/compose_cuda.h"
#include "ops/flow_cuda.h"
#include "segmenter/drift_cuda.h"

namespace stpl_rt {

// Buffers come in pairs, one for each parity of frames: what belongs to a frame lies at the frame's parity,
// so that a frame writes beside what the frame before has left, and nothing needs to be done on the device
// for a new key frame: the way from it to itself is known.
class DevicePropagation {
 public:
  // `measures_validity`: whether anybody asks for it.
  DevicePropagation(Size grid, bool measures_validity) : measures_validity_(measures_validity) {
    if (grid == Size{}) return;
    for (std::size_t i = 0; i < 2; ++i) {
      flow_[i].resize(grid.width, grid.height);
      if (measures_validity) validity_[i].resize(grid.width, grid.height);
    }
    key_luma_.resize(grid.width, grid.height);
    scratch_.reserve(cuda::kDriftScratch);
  }

  // A frame and the one before; `none` is flow of no length. `back`, of the past one into this one: null
  // where flow is not checked.
  struct Step {
    ImageView<const std::uint8_t> current, past;
    cuda::ConstFlowPlanes latest, none;
    const cuda::ConstFlowPlanes* back = nullptr;
    std::size_t parity = 0;  // of the current one
  };

  // One frame on; the drift of this frame goes to `drift`, unless that is null. What is enqueued depends on
  // `step`, `drift` and age() == 0 alone. The flow back needs validity.
  void follow(const Step& step, double* drift, cuda::StreamHandle stream) {
    const std::size_t past = 1 - step.parity;
    const bool first = age_ == 0;
    const cuda::ConstFlowPlanes composed = flow_[step.parity].cplanes();
    cuda::compose(step.latest, first ? step.none : flow_[past].cplanes(), flow_[step.parity].planes(),
                  stream);
    if (measures_validity_) {
      const ImageView<float> validity = validity_[step.parity].view();
      cuda::validity(step.current, step.past, step.latest,
                     first ? ImageView<const float>{} : validity_[past].cview(), composed, validity, stream);
      if (step.back != nullptr) cuda::check_return(step.latest, *step.back, validity, stream);
    }
    if (drift == nullptr) return;
    if (first) cuda::copy(key_luma_.view(), step.past, stream);
    const ImageView<const float> checked =
        step.back != nullptr ? validity(step.parity) : ImageView<const float>{};
    cuda::drift(step.current, key_luma_.cview(), composed, checked, scratch_.data(), drift, stream);
  }
  // What follow() has left at `drift`.
  void note_drift(double drift) noexcept { next_drift_ = drift_ + drift; }

  void start() noexcept {
    drift_ = 0;
    next_drift_ = 0;
    age_ = 0;
  }
  void commit() noexcept {
    drift_ = next_drift_;
    ++age_;
  }

  [[nodiscard]] cuda::ConstFlowPlanes flow(std::size_t parity) const noexcept {
    return flow_[parity].cplanes();
  }
  // Empty where it is not measured.
  [[nodiscard]] ImageView<const float> validity(std::size_t parity) const noexcept {
    return measures_validity_ ? validity_[parity].cview() : ImageView<const float>{};
  }
  // Summed over the frames since the key frame, with the one being pushed.
  [[nodiscard]] double next_drift() const noexcept { return next_drift_; }
  [[nodiscard]] int age() const noexcept { return age_; }

 private:
  std::array<cuda::DeviceFlow, 2> flow_;
  std::array<cuda::DeviceImage<float>, 2> validity_;
  cuda::DeviceImage<std::uint8_t> key_luma_;  // written on the first frame after the key frame
  cuda::DeviceBuffer<float> scratch_;
  bool measures_validity_;
  double drift_ = 0;
  double next_drift_ = 0;
  int age_ = 0;  // frames since the key frame
};

}  // namespace stpl_rt
