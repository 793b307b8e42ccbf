#include <stpl_rt/error.h>
#include <stpl_rt/segmenter.h>

#include <array>
#include <chrono>
#include <string>
#include <utility>

#include "core/thread_pool.h"
#include "engine/engine.h"
#include "flow/dis.h"
#include "ops/compose.h"
#include "ops/geometry.h"
#include "ops/preprocess.h"
#include "ops/sample_argmax.h"
#include "segmenter/external_flow.h"
#include "segmenter/frame_buffer.h"
#include "segmenter/scene_cut.h"

namespace stpl_rt {
namespace {

constexpr int kMaxSide = 16384;
constexpr int kMaxThreads = 1024;

// Adds the time it lives to a stage's milliseconds.
class Stopwatch {
 public:
  explicit Stopwatch(double& milliseconds) noexcept : milliseconds_(milliseconds) {}
  ~Stopwatch() { milliseconds_ += std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& milliseconds_;
  Clock::time_point start_ = Clock::now();
};

int checked_threads(int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    throw Error(ErrorCode::invalid_argument, "threads: expected 0 (all cores) to " +
                                                 std::to_string(kMaxThreads) + ", found " +
                                                 std::to_string(threads));
  }
  return threads;
}

// What ops cannot know: a frame may come from another language, its size goes into allocations.
void check_pushed(const Frame& frame) {
  switch (frame.format) {
    case PixelFormat::rgb:
    case PixelFormat::bgr:
    case PixelFormat::gray:
      break;
    default:
      throw Error(ErrorCode::invalid_argument, "frame: expected the format rgb, bgr or gray, found number " +
                                                   std::to_string(static_cast<int>(frame.format)));
  }
  check_frame(frame);
  if (frame.width > kMaxSide || frame.height > kMaxSide) {
    throw Error(ErrorCode::invalid_argument, "frame: expected a size of at most " + std::to_string(kMaxSide) +
                                                 "x" + std::to_string(kMaxSide) + ", found " +
                                                 std::to_string(frame.width) + "x" +
                                                 std::to_string(frame.height));
  }
}

ImageView<std::uint8_t> allocate(ByteMap& map, const Frame& frame) {
  map.width = frame.width;
  map.height = frame.height;
  map.data.resize(static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(frame.height));
  return {map.data.data(), frame.width, frame.height, frame.width};
}

}  // namespace

// What is kept between frames changes in commit_key() and commit_propagated() alone, which cannot fail:
// whatever is thrown before leaves the stream as it was.
class Segmenter::Impl {
 public:
  Impl(Bundle bundle, const SegmenterOptions& options)
      : bundle_(std::move(bundle)),
        schedule_(options.schedule.value_or(bundle_.default_schedule)),
        confidence_(options.confidence),
        scene_cuts_(options.scene_cuts),
        pool_(checked_threads(options.threads)),
        engine_(make_engine(bundle_.segment, options.device, options.precision, pool_.size())),
        grid_{bundle_.input.width, bundle_.input.height},
        frames_(propagates() ? grid_ : Size{}) {
    if (!propagates()) return;
    latest_.resize(grid_.width, grid_.height);
    for (std::size_t i = 0; i < 2; ++i) {
      composed_[i].resize(grid_.width, grid_.height);
      validity_[i].resize(grid_.width, grid_.height);
    }
  }

  Result push(const Frame& frame, const FlowView* flow) {
    Result result;
    {
      const Stopwatch total(result.timing.total_ms);
      check_pushed(frame);
      if (flow != nullptr) check_external_flow(*flow);
      segment(frame, flow, result);
    }
    return result;
  }

  void reset() noexcept { started_ = false; }
  [[nodiscard]] const Bundle& bundle() const noexcept { return bundle_; }
  [[nodiscard]] Schedule schedule() const noexcept { return schedule_; }
  [[nodiscard]] int threads() const noexcept { return pool_.size(); }

 private:
  [[nodiscard]] bool propagates() const noexcept { return schedule_.interval() > 1; }

  // What can be said before any flow is known.
  [[nodiscard]] KeyReason decide(const Frame& frame) const noexcept {
    if (!started_) return KeyReason::first;
    if (frame.width != width_ || frame.height != height_ || frame.format != format_) {
      return KeyReason::size_change;
    }
    return age_ + 1 >= schedule_.interval() ? KeyReason::schedule : KeyReason::none;
  }

  void segment(const Frame& frame, const FlowView* flow, Result& result) {
    result.frame_index = next_index_;
    result.key_reason = decide(frame);
    const ImageView<std::uint8_t> labels = allocate(result.labels, frame);
    ImageView<std::uint8_t> confidence;
    if (confidence_) confidence = allocate(result.confidence, frame);
    const Geometry geometry = make_geometry({frame.width, frame.height}, bundle_.input, bundle_.logits);
    if (propagates()) {
      const Stopwatch stage(result.timing.flow_ms);
      luma(frame, bundle_.input, frames_.new_current(), pool_);
      if (result.key_reason == KeyReason::none) result.key_reason = follow(frame, flow);
    }
    if (result.key_reason == KeyReason::none) {
      const Stopwatch stage(result.timing.sample_ms);
      sample_argmax(key_logits_, geometry, next_composed(), next_validity().cview(), labels, confidence,
                    pool_);
      commit_propagated();
    } else {
      run_network(frame, geometry, labels, confidence, result.timing);
      commit_key(frame);
    }
    result.is_key = result.key_reason != KeyReason::none;
    result.age = age_;
  }

  // Flow to the past frame, and by it back to the key frame. Returns scene_cut where there is none.
  KeyReason follow(const Frame& frame, const FlowView* flow) {
    if (flow != nullptr) {
      read_flow(*flow, {frame.width, frame.height}, bundle_.input, latest_, pool_);
    } else {
      frames_.flow(dis_, latest_, pool_);
    }
    if (scene_cuts_ && is_scene_cut(frames_.current(), frames_.past(), latest_)) {
      return KeyReason::scene_cut;
    }
    const ImageView<const float> past_validity =
        age_ == 0 ? ImageView<const float>{} : validity_[kept_].cview();
    compose(latest_, composed_[kept_], next_composed(), pool_);
    validity(frames_.current(), frames_.past(), latest_, past_validity, next_composed(), next_validity(),
             pool_);
    return KeyReason::none;
  }

  void run_network(const Frame& frame, const Geometry& geometry, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, Timing& timing) {
    {
      const Stopwatch stage(timing.preprocess_ms);
      preprocess(frame, bundle_.input, engine_->input().data(), pool_);
    }
    LogitsView logits{nullptr, static_cast<int>(bundle_.classes.size()), bundle_.logits.width,
                      bundle_.logits.height};
    {
      const Stopwatch stage(timing.network_ms);
      logits.data = engine_->infer().data();
    }
    const Stopwatch stage(timing.sample_ms);
    sample_argmax(logits, geometry, labels, confidence, pool_);
    if (propagates()) next_key_logits_.assign(logits, pool_);
  }

  void commit_key(const Frame& frame) noexcept {
    started_ = true;
    width_ = frame.width;
    height_ = frame.height;
    format_ = frame.format;
    if (propagates()) {
      std::swap(key_logits_, next_key_logits_);
      composed_[kept_].fill(0.F);
    }
    commit_frame(0);
  }

  void commit_propagated() noexcept {
    kept_ = 1 - kept_;
    commit_frame(age_ + 1);
  }

  void commit_frame(int age) noexcept {
    age_ = age;
    ++next_index_;
    if (propagates()) frames_.commit();
  }

  [[nodiscard]] FlowField& next_composed() noexcept { return composed_[1 - kept_]; }
  [[nodiscard]] Image<float>& next_validity() noexcept { return validity_[1 - kept_]; }

  const Bundle bundle_;
  const Schedule schedule_;
  const bool confidence_;
  const bool scene_cuts_;
  ThreadPool pool_;
  std::unique_ptr<Engine> engine_;
  const Size grid_;  // of luma and flow

  // The stream. `kept_` says which of the two buffers holds the past frame's; the other is scratch.
  bool started_ = false;
  int width_ = 0;
  int height_ = 0;
  PixelFormat format_ = PixelFormat::rgb;
  int age_ = 0;
  std::uint64_t next_index_ = 0;
  FrameBuffer frames_;
  PackedLogits key_logits_, next_key_logits_;
  DisFlow dis_;
  FlowField latest_;
  std::array<FlowField, 2> composed_;     // past frame → key frame
  std::array<Image<float>, 2> validity_;  // of composed_
  std::size_t kept_ = 0;
};

Segmenter::Segmenter(const std::filesystem::path& bundle, const SegmenterOptions& options)
    : Segmenter(Bundle::open(bundle), options) {}
Segmenter::Segmenter(Bundle bundle, const SegmenterOptions& options)
    : impl_(std::make_unique<Impl>(std::move(bundle), options)) {}
Segmenter::~Segmenter() = default;
Segmenter::Segmenter(Segmenter&&) noexcept = default;
Segmenter& Segmenter::operator=(Segmenter&&) noexcept = default;

Result Segmenter::push(const Frame& frame) { return impl_->push(frame, nullptr); }
Result Segmenter::push(const Frame& frame, const FlowView& flow) { return impl_->push(frame, &flow); }
void Segmenter::reset() noexcept { impl_->reset(); }
const Bundle& Segmenter::bundle() const noexcept { return impl_->bundle(); }
Schedule Segmenter::schedule() const noexcept { return impl_->schedule(); }
int Segmenter::threads() const noexcept { return impl_->threads(); }

}  // namespace stpl_rt
