// The networks of the test bundles (make_test_bundle.py) but the slow one, computed by hand: streams on a GPU
// can be tested where no engine for processors is.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "plain_engine.h"

namespace stpl_rt::test {

class ClosedFormEngine final : public PlainEngine {
 public:
  ClosedFormEngine(const NetworkSpec& spec, bool corners, bool is_fragile)
      : PlainEngine(spec), spec_(spec), corners_(corners), is_fragile_(is_fragile) {}
  std::span<const float> infer() override {
    if (spec_.name == "fuse") {
      for (std::size_t i = 0; i < output_.size(); ++i) {
        output_[i] = inputs_[0][i] + 0.25F * (inputs_[1][i] - inputs_[0][i]);
      }
      return output_;
    }
    segment();
    if (spec_.name == "update") {
      for (std::size_t i = 0; i < output_.size(); ++i) output_[i] = 0.5F * (output_[i] + inputs_[1][i]);
    }
    return output_;
  }

 private:
  // A linear function of each pixel, then the mean over blocks of them; with aligned corners the first pixel
  // of each.
  void segment() {
    constexpr std::size_t kClasses = 4;
    constexpr std::array<std::array<float, 3>, kClasses> kWeights = {
        {{1, -.5, -.5}, {-.5, 1, -.5}, {-.5, -.5, 1}, {-.25, -.25, -.25}}};
    constexpr std::array<float, kClasses> kBias = {0, 0, 0, 0.125};
    const auto& shape = spec_.inputs.front().shape;
    const auto& grid = spec_.outputs.front().shape;
    const auto in_h = static_cast<std::size_t>(shape[2]), in_w = static_cast<std::size_t>(shape[3]);
    const auto out_h = static_cast<std::size_t>(grid[2]), out_w = static_cast<std::size_t>(grid[3]);
    const std::size_t block = corners_ ? (in_w - 1) / (out_w - 1) : in_w / out_w;
    const std::size_t side = corners_ ? 1 : block;
    const float scale = is_fragile_ ? 1.F / distance() : 1.F;
    const float* const image = inputs_.front().data();
    for (std::size_t y = 0; y < out_h; ++y) {
      for (std::size_t x = 0; x < out_w; ++x) {
        std::array<double, 3> sum{};
        for (std::size_t k = 0; k < 3; ++k) {
          for (std::size_t i = 0; i < side * side; ++i) {
            sum[k] += image[(k * in_h + y * block + i / side) * in_w + x * block + i % side];
          }
        }
        for (std::size_t c = 0; c < kClasses; ++c) {
          float logit = kBias[c];
          for (std::size_t k = 0; k < 3; ++k) {
            logit += kWeights[c][k] * scale * static_cast<float>(sum[k] / static_cast<double>(side * side));
          }
          output_[(c * out_h + y) * out_w + x] = logit;
        }
      }
    }
  }
  // Mean distance of the input from zero; 0 of a frame of the mean colour, whose logits are then NaN.
  [[nodiscard]] float distance() const {
    double sum = 0;
    for (const float value : inputs_.front()) sum += std::abs(value);
    return static_cast<float>(sum / static_cast<double>(inputs_.front().size()));
  }

  const NetworkSpec spec_;
  const bool corners_;
  const bool is_fragile_;
};

class ClosedFormNetwork final : public CompiledNetwork {
 public:
  ClosedFormNetwork(const Bundle& bundle, NetworkSpec spec)
      : spec_(std::move(spec)), corners_(bundle.logits.align_corners), is_fragile_(bundle.name == "fragile") {
    if (bundle.name == "slow") throw std::invalid_argument("no closed form of the slow bundle");
  }
  [[nodiscard]] std::unique_ptr<Engine> make_engine() const override {
    return std::make_unique<ClosedFormEngine>(spec_, corners_, is_fragile_);
  }

 private:
  const NetworkSpec spec_;
  const bool corners_;
  const bool is_fragile_;
};

}  // namespace stpl_rt::test
