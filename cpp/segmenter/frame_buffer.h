// The luma of the two latest frames of a stream, on the flow grid.
#pragma once

#include <array>
#include <cstdint>

#include "core/image.h"

namespace stpl_rt {

// The frame being pushed is written beside the past one and becomes the past only by commit(), so that a
// push that fails half-way leaves the stream as it was.
class FrameBuffer {
 public:
  explicit FrameBuffer(Size grid) {
    for (Image<std::uint8_t>& luma : luma_) luma.resize(grid.width, grid.height);
  }

  [[nodiscard]] ImageView<std::uint8_t> current() noexcept { return luma_[1 - past_].view(); }
  [[nodiscard]] ImageView<const std::uint8_t> past() const noexcept { return luma_[past_].cview(); }
  void commit() noexcept { past_ = 1 - past_; }

 private:
  std::array<Image<std::uint8_t>, 2> luma_;
  std::size_t past_ = 0;
};

}  // namespace stpl_rt
