#include "segmenter/key_frame_policy.h"

#include <stpl_rt/error.h>

#include <string>

namespace stpl_rt {
namespace {

int checked_lag(int lag, const Schedule& schedule) {
  if (lag == 0) return 0;
  if (lag < 0 || lag >= schedule.interval()) {
    throw Error(ErrorCode::invalid_argument, "key_lag: expected 0 to " +
                                                 std::to_string(schedule.interval() - 1) +
                                                 ", less than the frames between key frames of schedule " +
                                                 schedule.to_string() + ", found " + std::to_string(lag));
  }
  return lag;
}

}  // namespace

KeyFramePolicy::KeyFramePolicy(const Schedule& schedule, int key_lag, bool carries)
    : schedule_(schedule), key_lag_(checked_lag(key_lag, schedule)), carries_(carries) {}

KeyReason KeyFramePolicy::before_flow(const Frame& frame, std::optional<double> timestamp) const noexcept {
  if (!is_started_) return KeyReason::first;
  if (frame.width != width_ || frame.height != height_ || frame.format != format_) {
    return KeyReason::size_change;
  }
  if (carries_ && clock_.is_gap(timestamp)) return KeyReason::gap;
  const bool due = since_key_ + 1 >= schedule_.interval();
  return due && key_lag_ == 0 ? KeyReason::schedule : KeyReason::none;
}

KeyReason KeyFramePolicy::after_flow(double drift) const noexcept {
  if (is_pending_) return KeyReason::none;
  if (since_key_ + 1 >= schedule_.interval()) return KeyReason::schedule;
  const bool adaptive = schedule_.kind() == Schedule::Kind::adaptive;
  return adaptive && drift > schedule_.drift() ? KeyReason::drift : KeyReason::none;
}

bool KeyFramePolicy::runs_behind(KeyReason reason) const noexcept {
  return key_lag_ > 0 && (reason == KeyReason::schedule || reason == KeyReason::drift);
}

void KeyFramePolicy::commit_propagated(bool network_started) noexcept {
  ++since_key_;
  if (!network_started) return;
  is_pending_ = true;
  since_key_ = 0;
}

void KeyFramePolicy::commit_frame(const Frame& frame, std::optional<double> timestamp) noexcept {
  is_started_ = true;
  width_ = frame.width;
  height_ = frame.height;
  format_ = frame.format;
  clock_.commit(timestamp);
}

}  // namespace stpl_rt
