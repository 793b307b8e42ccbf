#include "segmenter/stream.h"

#include <stpl_rt/error.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "core/stopwatch.h"
#include "ops/finite.h"
#include "ops/geometry.h"
#include "ops/preprocess.h"
#include "segmenter/external_flow.h"
#include "segmenter/scene_cut.h"

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

void check_pushed(const Frame& frame, const FrameInfo& info) {
  check_frame(frame);
  if (frame.width > kMaxSide || frame.height > kMaxSide) {
    throw Error(ErrorCode::invalid_argument, "frame: expected a size of at most " + std::to_string(kMaxSide) +
                                                 "x" + std::to_string(kMaxSide) + ", found " +
                                                 std::to_string(frame.width) + "x" +
                                                 std::to_string(frame.height));
  }
  if (info.timestamp && !std::isfinite(*info.timestamp)) {
    throw Error(
        ErrorCode::invalid_argument,
        "timestamp: expected a finite number of seconds, or none, found " + std::to_string(*info.timestamp));
  }
  if (info.flow) check_external_flow(*info.flow);
}

Stream::Stream(const Bundle& bundle, const SegmenterOptions& options, StreamNetworks networks)
    : bundle_(bundle),
      schedule_(options.schedule.value_or(bundle.default_schedule)),
      confidence_(options.confidence),
      scene_cuts_(options.scene_cuts),
      key_lag_(checked_lag(options.key_lag, schedule_)),
      pool_(options.threads),
      carries_(schedule_.propagates() || networks.fuse != nullptr),
      networks_(std::move(networks)),
      engine_(networks_.segment->make_engine()),
      fuse_(networks_.fuse ? networks_.fuse->make_engine() : nullptr),
      update_(networks_.update ? networks_.update->make_engine() : nullptr),
      grid_(carries_ ? Size{bundle.input.width, bundle.input.height} : Size{}),
      frames_(grid_),
      shown_(grid_),
      pending_(key_lag_ > 0 ? grid_ : Size{}) {
  latest_.resize(grid_.width, grid_.height);
}

Result Stream::push(const Frame& frame, const FrameInfo& info) {
  Result result;
  {
    const Stopwatch total("push", result.timing.total_ms);
    check_pushed(frame, info);
    segment(frame, info, result);
  }
  return result;
}

void Stream::segment(const Frame& frame, const FrameInfo& info, Result& result) {
  const Geometry geometry = make_geometry({frame.width, frame.height}, bundle_.input, bundle_.logits);
  result.frame_index = next_index_;
  result.key_reason = decide_before_flow(frame, info);
  if (carries_) {
    const Stopwatch stage("flow", result.timing.flow_ms);
    luma(frame, bundle_.input, frames_.new_current(), pool_);
    const bool fuses = fuse_ != nullptr && result.key_reason == KeyReason::schedule;
    if (result.key_reason == KeyReason::none || fuses) {
      const KeyReason found = follow(frame, info);
      if (found != KeyReason::none) result.key_reason = found;
    }
  }
  if (result.key_reason == KeyReason::none) {
    adopt_if_due(result.timing);
    result.drift = shown_.next_drift();
    result.key_reason = decide_after_flow(result.drift);
  }
  result.is_key = result.key_reason != KeyReason::none;
  if (result.is_key && !runs_behind(result.key_reason)) {
    show_key(frame, geometry, result);
    commit_key();
  } else {
    show_propagated(frame, geometry, result);
    if (result.is_key) start_network(frame, result.timing);
    commit_propagated(result.is_key);
  }
  result.age = shown_.age();
  commit_frame(frame, info, geometry);
}

// What can be said before any flow is known.
KeyReason Stream::decide_before_flow(const Frame& frame, const FrameInfo& info) const noexcept {
  if (!started_) return KeyReason::first;
  if (frame.width != width_ || frame.height != height_ || frame.format != format_) {
    return KeyReason::size_change;
  }
  if (carries_ && clock_.is_gap(info.timestamp)) return KeyReason::gap;
  const bool due = since_key_ + 1 >= schedule_.interval();
  return due && key_lag_ == 0 ? KeyReason::schedule : KeyReason::none;
}

KeyReason Stream::decide_after_flow(double drift) const noexcept {
  if (pending_.active) return KeyReason::none;
  if (since_key_ + 1 >= schedule_.interval()) return KeyReason::schedule;
  const bool adaptive = schedule_.kind() == Schedule::Kind::adaptive;
  return adaptive && drift > schedule_.drift() ? KeyReason::drift : KeyReason::none;
}

// Whether the network may be late: not where the past is of no use, for nothing could be shown meanwhile.
bool Stream::runs_behind(KeyReason reason) const noexcept {
  return key_lag_ > 0 && (reason == KeyReason::schedule || reason == KeyReason::drift);
}

// Flow to the past frame, and by it back to the key frames. Returns scene_cut where there is none.
KeyReason Stream::follow(const Frame& frame, const FrameInfo& info) {
  if (info.flow) {
    read_flow(*info.flow, {frame.width, frame.height}, bundle_.input, latest_, pool_);
  } else {
    frames_.flow(dis_, latest_, pool_);
  }
  if (scene_cuts_ && is_scene_cut(frames_.current(), frames_.past(), latest_)) return KeyReason::scene_cut;
  const bool due = is_adoption_due();
  if (!due) shown_.follow(frames_.current(), frames_.past(), latest_, pool_);
  if (pending_.active) pending_.way.follow(frames_.current(), frames_.past(), latest_, pool_);
  return KeyReason::none;
}

bool Stream::is_adoption_due() const noexcept {
  return pending_.active && pending_.way.age() + 1 == key_lag_;
}

// What the network said of the pending key frame is shown from here on. Where the frame being pushed fails
// afterwards, the stream is one frame early: whole, and the same from that frame on.
void Stream::adopt_if_due(Timing& timing) {
  if (!is_adoption_due()) return;
  const Stopwatch stage("wait for the network", timing.network_ms);
  pending_.active = false;  // also where the network failed: the next key frame starts it anew
  try {
    key_logits_.assign(checked(engine_->wait()), pool_);
  } catch (...) {
    started_ = false;  // the flow of what was shown has not been followed: begin with a key frame
    throw;
  }
  std::swap(shown_, pending_.way);
}

void Stream::prepare_input(const Frame& frame, Engine& engine, Timing& timing) {
  const Stopwatch stage("preprocess", timing.preprocess_ms);
  preprocess(frame, bundle_.input, engine.input().data(), pool_);
}

// The key frame's logits on their own grid, as they lie on the frame being pushed.
void Stream::carry(std::span<float> out, const Geometry& geometry, Timing& timing) {
  const Stopwatch stage("carry", timing.sample_ms);
  carry_logits(key_logits_, make_logits_geometry(geometry), shown_.next_flow(), out.data(), pool_);
}

LogitsView Stream::fused(const LogitsView& logits, const Geometry& geometry, Timing& timing) {
  std::copy_n(logits.data, fuse_->input(0).size(), fuse_->input(0).data());
  carry(fuse_->input(1), geometry, timing);
  const Stopwatch stage("fuse", timing.network_ms);
  return checked(fuse_->infer());
}

void Stream::show_updated(const Frame& frame, const Geometry& geometry, Result& result) {
  prepare_input(frame, *update_, result.timing);
  carry(update_->input(1), geometry, result.timing);
  LogitsView logits;
  {
    const Stopwatch stage("update", result.timing.network_ms);
    logits = checked(update_->infer());
  }
  const Stopwatch stage("sample", result.timing.sample_ms);
  sample_argmax(logits, geometry, allocate(result.labels, frame), allocate_confidence(result, frame), pool_);
}

void Stream::show_key(const Frame& frame, const Geometry& geometry, Result& result) {
  drop_pending();
  prepare_input(frame, *engine_, result.timing);
  LogitsView logits;
  latest_logits_ = {};  // the engine writes over them
  {
    const Stopwatch stage("network", result.timing.network_ms);
    logits = checked(engine_->infer());
  }
  const bool has_past = result.key_reason == KeyReason::schedule || result.key_reason == KeyReason::drift;
  const LogitsView shown = fuse_ && has_past ? fused(logits, geometry, result.timing) : logits;
  const Stopwatch stage("sample", result.timing.sample_ms);
  sample_argmax(shown, geometry, allocate(result.labels, frame), allocate_confidence(result, frame), pool_);
  if (carries_) {
    next_key_logits_.assign(logits, pool_);
  } else {
    latest_logits_ = logits;
  }
}

void Stream::show_propagated(const Frame& frame, const Geometry& geometry, Result& result) {
  if (update_) {
    show_updated(frame, geometry, result);
    return;
  }
  const Stopwatch stage("sample", result.timing.sample_ms);
  sample_argmax(key_logits_, geometry, shown_.next_flow(), shown_.next_validity(),
                allocate(result.labels, frame), allocate_confidence(result, frame), pool_);
}

void Stream::start_network(const Frame& frame, Timing& timing) {
  prepare_input(frame, *engine_, timing);
  const Stopwatch stage("start the network", timing.network_ms);
  engine_->start();
}

// A network that runs in the background cannot be stopped: it is waited for, and what it says is not used.
void Stream::drop_pending() {
  if (!pending_.active) return;
  pending_.active = false;
  try {
    (void)engine_->wait();
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): nobody asks any more
  }
}

LogitsView Stream::checked(std::span<const float> output) const {
  if (!all_finite(output)) {
    throw Error(ErrorCode::engine,
                "the network's logits hold " + std::to_string(count_not_finite(output)) + " of " +
                    std::to_string(output.size()) +
                    " values that are not finite (NaN or infinite); expected numbers: try precision \"f32\", "
                    "or check the exported network");
  }
  return {output.data(), static_cast<int>(bundle_.classes.size()), bundle_.logits.width,
          bundle_.logits.height};
}

ImageView<std::uint8_t> Stream::allocate(ByteMap& map, const Frame& frame) {
  map = maps_.take(frame.width, frame.height);
  return {BytePool::writable(map), frame.width, frame.height, frame.width};
}

ImageView<std::uint8_t> Stream::allocate_confidence(Result& result, const Frame& frame) {
  return confidence_ ? allocate(result.confidence, frame) : ImageView<std::uint8_t>{};
}

void Stream::commit_key() noexcept {
  since_key_ = 0;
  if (!carries_) return;
  std::swap(key_logits_, next_key_logits_);
  shown_.start(frames_.current());
}

void Stream::commit_propagated(bool network_started) noexcept {
  shown_.commit();
  if (pending_.active) pending_.way.commit();
  ++since_key_;
  if (!network_started) return;
  pending_.active = true;
  pending_.way.start(frames_.current());
  since_key_ = 0;
}

void Stream::commit_frame(const Frame& frame, const FrameInfo& info, const Geometry& geometry) noexcept {
  started_ = true;
  width_ = frame.width;
  height_ = frame.height;
  format_ = frame.format;
  geometry_ = geometry;
  ++next_index_;
  clock_.commit(info.timestamp);
  if (carries_) frames_.commit();
}

void Stream::logits(std::vector<float>& out) {
  if (!started_ || (!carries_ && latest_logits_.data == nullptr)) {
    throw Error(ErrorCode::invalid_argument,
                started_ ? "logits: expected the latest push to have succeeded, found a failure: push a frame"
                         : "logits: expected a frame to have been pushed, found none");
  }
  out.resize(bundle_.classes.size() * static_cast<std::size_t>(bundle_.logits.width) *
             static_cast<std::size_t>(bundle_.logits.height));
  if (!carries_) {
    std::copy_n(latest_logits_.data, out.size(), out.data());
    return;
  }
  carry_logits(key_logits_, make_logits_geometry(geometry_), shown_.flow(), out.data(), pool_);
}

}  // namespace stpl_rt
