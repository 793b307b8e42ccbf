// The luma of the two latest frames of a stream, on the flow grid, and their pyramids.
#pragma once

#include <array>
#include <cstdint>

#include "core/image.h"
#include "core/thread_pool.h"
#include "flow/dis.h"

namespace stpl_rt {

// The frame being pushed is written beside the past one and becomes the past only by commit(), so that a
// push that fails half-way leaves the stream as it was.
class FrameBuffer {
 public:
  explicit FrameBuffer(Size grid) {
    for (LumaFrame& frame : frames_) frame.luma.resize(grid.width, grid.height);
  }

  // To be filled with the frame being pushed.
  [[nodiscard]] ImageView<std::uint8_t> new_current() noexcept {
    frames_[1 - past_].pyramid.clear();
    return frames_[1 - past_].luma.view();
  }
  [[nodiscard]] ImageView<const std::uint8_t> current() const noexcept {
    return frames_[1 - past_].luma.cview();
  }
  [[nodiscard]] ImageView<const std::uint8_t> past() const noexcept { return frames_[past_].luma.cview(); }
  void commit() noexcept { past_ = 1 - past_; }

  // Flow of the current frame into the past one. Each frame's pyramid is built once, and only when flow asks
  // for it: not before the first propagated frame, not where flow comes from elsewhere.
  void flow(DisFlow& dis, FlowField& out, ThreadPool& pool) {
    for (LumaFrame& frame : frames_) {
      if (frame.pyramid.empty()) dis.build(frame.luma.cview(), frame.pyramid, pool);
    }
    dis.compute(frames_[1 - past_].pyramid, frames_[past_].pyramid, out, pool);
  }
  // After flow(), the other way round.
  void flow_back(DisFlow& dis, FlowField& out, ThreadPool& pool) const {
    dis.compute(frames_[past_].pyramid, frames_[1 - past_].pyramid, out, pool);
  }

 private:
  struct LumaFrame {
    Image<std::uint8_t> luma;
    Pyramid pyramid;
  };
  std::array<LumaFrame, 2> frames_;
  std::size_t past_ = 0;
};

}  // namespace stpl_rt
