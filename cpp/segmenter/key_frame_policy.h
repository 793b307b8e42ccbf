// When the network runs: the decisions that a stream on the CPU and one on a GPU share.
#pragma once

#include <stpl_rt/frame.h>
#include <stpl_rt/options.h>
#include <stpl_rt/result.h>

#include <optional>

#include "segmenter/clock.h"

namespace stpl_rt {

// What it knows of the frames before changes in the functions named commit, drop and restart alone.
class KeyFramePolicy {
 public:
  // `key_lag`: see SegmenterOptions; Error(invalid_argument) where the schedule leaves no room for it.
  // `carries`: whether flow is computed, so that frames that are missing matter.
  KeyFramePolicy(const Schedule& schedule, int key_lag, bool carries);

  // The decision in two steps: what can be said before any flow is known, and what its drift says where that
  // was `none`.
  [[nodiscard]] KeyReason before_flow(const Frame& frame, std::optional<double> timestamp) const noexcept;
  [[nodiscard]] KeyReason after_flow(double drift) const noexcept;
  // Whether the network may be late: not where the past is of no use, for nothing could be shown meanwhile.
  [[nodiscard]] bool runs_behind(KeyReason reason) const noexcept;
  // Whether a key frame's network runs in the background, and whether it is shown from the next frame on.
  [[nodiscard]] bool is_pending() const noexcept { return is_pending_; }
  [[nodiscard]] bool is_adoption_due() const noexcept { return is_pending_ && since_key_ + 1 == key_lag_; }
  // Whether there is a past.
  [[nodiscard]] bool is_started() const noexcept { return is_started_; }

  void commit_key() noexcept { since_key_ = 0; }
  void commit_propagated(bool network_started) noexcept;
  // After either.
  void commit_frame(const Frame& frame, std::optional<double> timestamp) noexcept;
  // The pending key frame is shown, or is of no use any more.
  void drop_pending() noexcept { is_pending_ = false; }
  // The next frame is a key frame; reset() also forgets when frames came.
  void restart() noexcept { is_started_ = false; }
  void reset() noexcept {
    restart();
    clock_ = {};
  }

 private:
  const Schedule schedule_;
  const int key_lag_;
  const bool carries_;
  bool is_started_ = false;
  bool is_pending_ = false;
  int since_key_ = 0;  // frames since the network was last run or started
  int width_ = 0;
  int height_ = 0;
  PixelFormat format_ = PixelFormat::rgb;
  Clock clock_;
};

}  // namespace stpl_rt
