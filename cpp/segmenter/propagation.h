// The way from the latest frame of a stream back to one key frame.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "core/image.h"
#include "core/thread_pool.h"
#include "ops/compose.h"
#include "segmenter/drift.h"

namespace stpl_rt {

// The frame being pushed gets its flow beside that of the frame before, and replaces it only by commit(): a
// push that fails half-way leaves the stream as it was.
class Propagation {
 public:
  explicit Propagation(Size grid) : key_luma_(grid.width, grid.height) {
    for (std::size_t i = 0; i < 2; ++i) {
      flow_[i].resize(grid.width, grid.height);
      validity_[i].resize(grid.width, grid.height);
    }
  }

  // The latest frame, whose luma this is, is the key frame itself.
  void start(ImageView<const std::uint8_t> luma) noexcept {
    flow_[kept_].fill(0.F);
    for (int y = 0; y < luma.height; ++y) std::copy_n(luma.row(y), luma.width, key_luma_.row(y));
    drift_ = 0;
    age_ = 0;
  }

  // One frame on: `latest` is the flow of `current` into `past`, the frame before, and `back` the flow of
  // that into this one, for the forward-backward check; null: no check.
  void follow(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
              const FlowField& latest, const FlowField* back, ThreadPool& pool) {
    const ImageView<const float> carried = age_ == 0 ? ImageView<const float>{} : validity_[kept_].cview();
    FlowField& flow = flow_[1 - kept_];
    Image<float>& validity = validity_[1 - kept_];
    compose(latest, flow_[kept_], flow, pool);
    stpl_rt::validity(current, past, latest, carried, flow, validity, pool);
    if (back != nullptr) check_return(latest, *back, validity, pool);
    const ImageView<const float> checked = back != nullptr ? validity.cview() : ImageView<const float>{};
    next_drift_ = drift_ + drift(current, key_luma_.cview(), flow, checked);
  }
  void commit() noexcept {
    kept_ = 1 - kept_;
    drift_ = next_drift_;
    ++age_;
  }

  // Of the frame being pushed, between follow() and commit().
  [[nodiscard]] const FlowField& next_flow() const noexcept { return flow_[1 - kept_]; }
  [[nodiscard]] ImageView<const float> next_validity() const noexcept { return validity_[1 - kept_].cview(); }
  // Summed over the frames since the key frame.
  [[nodiscard]] double next_drift() const noexcept { return next_drift_; }
  // Of the latest frame committed; its validity is 1 everywhere at age 0, and not written down.
  [[nodiscard]] const FlowField& flow() const noexcept { return flow_[kept_]; }
  [[nodiscard]] int age() const noexcept { return age_; }

 private:
  std::array<FlowField, 2> flow_;         // latest frame → key frame
  std::array<Image<float>, 2> validity_;  // of flow_
  Image<std::uint8_t> key_luma_;
  double drift_ = 0;
  double next_drift_ = 0;
  std::size_t kept_ = 0;
  int age_ = 0;  // frames since the key frame
};

}  // namespace stpl_rt
