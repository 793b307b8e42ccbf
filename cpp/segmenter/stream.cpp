#include "segmenter/stream.h"

#include <stpl_rt/error.h>

#include <algorithm>
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

Schedule schedule_of(const SegmenterOptions& options, const Bundle& bundle) {
  return options.schedule.value_or(bundle.default_schedule);
}

// Whatever device the network runs on, all else runs here.
void check_memory(const Frame& frame, const FrameInfo& info) {
  const auto check = [](const char* what, FrameMemory memory) {
    if (memory != FrameMemory::device) return;
    throw Error(ErrorCode::invalid_argument,
                std::string(what) + ": expected host memory, as kernels run on the CPU, found device memory");
  };
  check("frame", frame.memory);
  if (info.flow) check("flow", info.flow->memory);
}

}  // namespace

Stream::Stream(const Bundle& bundle, const SegmenterOptions& options, StreamNetworks networks)
    : bundle_(bundle),
      confidence_(options.confidence),
      scene_cuts_(options.scene_cuts),
      flow_check_(options.flow_check),
      carries_(schedule_of(options, bundle).propagates() || networks.fuse != nullptr),
      policy_(schedule_of(options, bundle), options.key_lag, carries_),
      pool_(options.threads),
      networks_(std::move(networks)),
      engine_(networks_.segment->make_engine()),
      fuse_(networks_.fuse ? networks_.fuse->make_engine() : nullptr),
      update_(networks_.update ? networks_.update->make_engine() : nullptr),
      grid_(carries_ ? Size{bundle.input.width, bundle.input.height} : Size{}),
      maps_(pooled_maps(options.queue)),
      frames_(grid_),
      shown_(grid_, confidence_ || flow_check_),
      pending_(options.key_lag > 0 ? grid_ : Size{}, confidence_ || flow_check_) {
  latest_.resize(grid_.width, grid_.height);
  if (carries_) {
    PackedLogits::check_size(static_cast<int>(bundle.classes.size()),
                             {bundle.logits.width, bundle.logits.height});
  }
}

Result Stream::push(const Frame& frame, const FrameInfo& info) { return segment(frame, info, true); }

Result Stream::start(const Frame& frame, const FrameInfo& info) { return segment(frame, info, false); }

Result Stream::segment(const Frame& frame, const FrameInfo& info, bool checks) {
  Result result;
  {
    const Stopwatch total("push", result.timing.total_ms);
    check_memory(frame, info);
    if (checks) check_pushed(frame, info);
    segment(frame, info, result);
  }
  return result;
}

void Stream::segment(const Frame& frame, const FrameInfo& info, Result& result) {
  const Geometry geometry = make_geometry({frame.width, frame.height}, bundle_.input, bundle_.logits);
  result.frame_index = next_index_;
  result.key_reason = policy_.before_flow(frame, info.timestamp);
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
    result.key_reason = policy_.after_flow(result.drift);
  }
  result.is_key = result.key_reason != KeyReason::none;
  if (result.is_key && !policy_.runs_behind(result.key_reason)) {
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

// Flow to the past frame, and by it back to the key frames. Returns scene_cut where there is none.
KeyReason Stream::follow(const Frame& frame, const FrameInfo& info) {
  if (info.flow) {
    read_flow(*info.flow, {frame.width, frame.height}, bundle_.input, latest_, pool_);
  } else {
    frames_.flow(dis_, latest_, pool_);
  }
  if (scene_cuts_ && is_scene_cut(frames_.current(), frames_.past(), latest_)) return KeyReason::scene_cut;
  const FlowField* const back = flow_check_ && !info.flow ? &back_ : nullptr;
  if (back != nullptr) frames_.flow_back(dis_, back_, pool_);
  const bool due = policy_.is_adoption_due();
  if (!due) shown_.follow(frames_.current(), frames_.past(), latest_, back, pool_);
  if (policy_.is_pending()) pending_.follow(frames_.current(), frames_.past(), latest_, back, pool_);
  return KeyReason::none;
}

// What the network said of the pending key frame is shown from here on. Where the frame being pushed fails
// afterwards, the stream is one frame early: whole, and the same from that frame on.
void Stream::adopt_if_due(Timing& timing) {
  if (!policy_.is_adoption_due()) return;
  const Stopwatch stage("wait for the network", timing.network_ms);
  policy_.drop_pending();  // also where the network failed: the next key frame starts it anew
  try {
    key_logits_.assign(checked(engine_->wait()), pool_);
  } catch (...) {
    policy_.restart();  // the flow of what was shown has not been followed: begin with a key frame
    throw;
  }
  std::swap(shown_, pending_);
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

// A late network that was given up is lost with a frame that fails: the next begins anew.
LogitsView Stream::run_network(const Frame& frame, Timing& timing) {
  const bool gives_up = policy_.is_pending();
  try {
    drop_pending();
    prepare_input(frame, *engine_, timing);
    latest_logits_ = {};  // the engine writes over them
    const Stopwatch stage("network", timing.network_ms);
    return checked(engine_->infer());
  } catch (...) {
    if (gives_up) policy_.restart();
    throw;
  }
}

void Stream::show_key(const Frame& frame, const Geometry& geometry, Result& result) {
  const LogitsView logits = run_network(frame, result.timing);
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

// What a late network says is of no use any more, and the next run must not queue behind it.
void Stream::drop_pending() {
  if (policy_.is_pending()) engine_->cancel();
  wait();
  policy_.drop_pending();
}

// The late network is waited for by the next frame.
void Stream::reset() noexcept {
  if (policy_.is_pending()) engine_->cancel();
  policy_.reset();
}

void Stream::wait() noexcept {
  if (!policy_.is_pending()) return;
  try {
    (void)engine_->wait();
  } catch (...) {  // NOLINT(bugprone-empty-catch): the frame that adopts the logits hears of it
  }
}

LogitsView Stream::checked(std::span<const float> output) const {
  if (!all_finite(output)) throw not_finite_error(count_not_finite(output), output.size());
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
  policy_.commit_key();
  if (!carries_) return;
  std::swap(key_logits_, next_key_logits_);
  shown_.start(frames_.current());
}

void Stream::commit_propagated(bool network_started) noexcept {
  shown_.commit();
  if (policy_.is_pending()) pending_.commit();
  policy_.commit_propagated(network_started);
  if (network_started) pending_.start(frames_.current());
}

void Stream::commit_frame(const Frame& frame, const FrameInfo& info, const Geometry& geometry) noexcept {
  policy_.commit_frame(frame, info.timestamp);
  geometry_ = geometry;
  ++next_index_;
  if (carries_) frames_.commit();
}

void Stream::logits(std::vector<float>& out) {
  if (!policy_.is_started() || (!carries_ && latest_logits_.data == nullptr)) {
    throw Error(
        ErrorCode::invalid_argument,
        policy_.is_started()
            ? "logits: expected the latest push to have succeeded, found a failure: push a frame"
            : "logits: expected a frame to have been pushed since the last reset or failure, found none");
  }
  out.resize(bundle_.classes.size() * static_cast<std::size_t>(bundle_.logits.width) *
             static_cast<std::size_t>(bundle_.logits.height));
  if (!carries_) {
    std::copy_n(latest_logits_.data, out.size(), out.data());
    return;
  }
  if (shown_.age() == 0) {
    unpack_logits(key_logits_, out.data());
  } else {
    carry_logits(key_logits_, make_logits_geometry(geometry_), shown_.flow(), out.data(), pool_);
  }
}

}  // namespace stpl_rt
