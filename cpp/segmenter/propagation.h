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
  // `measures_validity`: whether anybody asks for it: it costs half as much as the flow.
  Propagation(Size grid, bool measures_validity)
      : key_luma_(grid.width, grid.height), measures_validity_(measures_validity) {
    for (FlowField& flow : flow_) flow.resize(grid.width, grid.height);
    if (!measures_validity) return;
    for (Image<float>& validity : validity_) validity.resize(grid.width, grid.height);
  }

  // The latest frame, whose luma this is, is the key frame itself.
  void start(ImageView<const std::uint8_t> luma) noexcept {
    flow_[kept_].fill(0.F);
    for (int y = 0; y < luma.height; ++y) std::copy_n(luma.row(y), luma.width, key_luma_.row(y));
    drift_ = 0;
    age_ = 0;
  }

  // One frame on: `latest` is the flow of `current` into `past`, the frame before, and `back` the flow of
  // that into this one, for the forward-backward check; null: no check. It needs validity.
  void follow(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
              const FlowField& latest, const FlowField* back, ThreadPool& pool) {
    FlowField& flow = flow_[1 - kept_];
    compose(latest, flow_[kept_], flow, pool);
    if (measures_validity_) measure_validity(current, past, latest, back, pool);
    const ImageView<const float> checked = back != nullptr ? next_validity() : ImageView<const float>{};
    next_drift_ = drift_ + drift(current, key_luma_.cview(), flow, checked);
  }
  void commit() noexcept {
    kept_ = 1 - kept_;
    drift_ = next_drift_;
    ++age_;
  }

  // Of the frame being pushed, between follow() and commit().
  [[nodiscard]] const FlowField& next_flow() const noexcept { return flow_[1 - kept_]; }
  // Empty where it is not measured.
  [[nodiscard]] ImageView<const float> next_validity() const noexcept {
    return measures_validity_ ? validity_[1 - kept_].cview() : ImageView<const float>{};
  }
  // Summed over the frames since the key frame.
  [[nodiscard]] double next_drift() const noexcept { return next_drift_; }
  // Of the latest frame committed; its validity is 1 everywhere at age 0, and not written down.
  [[nodiscard]] const FlowField& flow() const noexcept { return flow_[kept_]; }
  [[nodiscard]] int age() const noexcept { return age_; }

 private:
  void measure_validity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                        const FlowField& latest, const FlowField* back, ThreadPool& pool) {
    const ImageView<const float> carried = age_ == 0 ? ImageView<const float>{} : validity_[kept_].cview();
    Image<float>& out = validity_[1 - kept_];
    validity(current, past, latest, carried, next_flow(), out, pool);
    if (back != nullptr) check_return(latest, *back, out, pool);
  }

  std::array<FlowField, 2> flow_;         // latest frame → key frame
  std::array<Image<float>, 2> validity_;  // of flow_
  Image<std::uint8_t> key_luma_;
  bool measures_validity_;
  double drift_ = 0;
  double next_drift_ = 0;
  std::size_t kept_ = 0;
  int age_ = 0;  // frames since the key frame
};

}  // namespace stpl_rt
