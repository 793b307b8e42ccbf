// One stream: what is kept from frame to frame, and what is done with the next.
#pragma once

#include <stpl_rt/segmenter.h>

#include <memory>
#include <span>
#include <vector>

#include "core/byte_pool.h"
#include "core/thread_pool.h"
#include "engine/engine.h"
#include "flow/dis.h"
#include "ops/sample_argmax.h"
#include "segmenter/clock.h"
#include "segmenter/frame_buffer.h"
#include "segmenter/propagation.h"

namespace stpl_rt {

// What ops cannot know: a frame may come from another language, and its size goes into allocations. Also
// checks what is known of it. Throws Error(invalid_argument).
void check_pushed(const Frame& frame, const FrameInfo& info);

// Of one stream; what options do not ask for is null.
struct StreamNetworks {
  std::shared_ptr<const CompiledNetwork> segment, fuse, update;
};

// Used by one thread at a time. What is kept between frames changes in the commit functions alone, which
// cannot fail: whatever is thrown before leaves the stream as it was.
class Stream {
 public:
  Stream(const Bundle& bundle, const SegmenterOptions& options, StreamNetworks networks);

  // See Segmenter.
  Result push(const Frame& frame, const FrameInfo& info);
  void reset() noexcept {
    started_ = false;
    clock_ = {};
  }
  void logits(std::vector<float>& out);

 private:
  // A key frame whose network runs in the background.
  struct Pending {
    explicit Pending(Size grid) : way(grid) {}
    bool active = false;
    Propagation way;
  };

  void segment(const Frame& frame, const FrameInfo& info, Result& result);
  [[nodiscard]] KeyReason decide_before_flow(const Frame& frame, const FrameInfo& info) const noexcept;
  [[nodiscard]] KeyReason decide_after_flow(double drift) const noexcept;
  [[nodiscard]] bool runs_behind(KeyReason reason) const noexcept;
  KeyReason follow(const Frame& frame, const FrameInfo& info);
  [[nodiscard]] bool is_adoption_due() const noexcept;
  void adopt_if_due(Timing& timing);
  void prepare_input(const Frame& frame, Engine& engine, Timing& timing);
  void carry(std::span<float> out, const Geometry& geometry, Timing& timing);
  [[nodiscard]] LogitsView fused(const LogitsView& logits, const Geometry& geometry, Timing& timing);
  void show_updated(const Frame& frame, const Geometry& geometry, Result& result);
  void show_key(const Frame& frame, const Geometry& geometry, Result& result);
  void show_propagated(const Frame& frame, const Geometry& geometry, Result& result);
  void start_network(const Frame& frame, Timing& timing);
  void drop_pending();
  [[nodiscard]] LogitsView checked(std::span<const float> output) const;
  [[nodiscard]] ImageView<std::uint8_t> allocate(ByteMap& map, const Frame& frame);
  [[nodiscard]] ImageView<std::uint8_t> allocate_confidence(Result& result, const Frame& frame);
  void commit_key() noexcept;
  void commit_propagated(bool network_started) noexcept;
  void commit_frame(const Frame& frame, const FrameInfo& info, const Geometry& geometry) noexcept;

  const Bundle& bundle_;
  const Schedule schedule_;
  const bool confidence_;
  const bool scene_cuts_;
  const int key_lag_;
  ThreadPool pool_;
  const bool carries_;             // whether logits are kept, and flow is computed
  const StreamNetworks networks_;  // as long as they are held, other streams find them
  std::unique_ptr<Engine> engine_, fuse_, update_;
  const Size grid_;  // of luma and flow
  BytePool maps_;

  bool started_ = false;
  int width_ = 0;
  int height_ = 0;
  PixelFormat format_ = PixelFormat::rgb;
  Geometry geometry_;  // of the latest frame
  Clock clock_;
  std::uint64_t next_index_ = 0;
  FrameBuffer frames_;
  // One level finer than OpenCV's "ultrafast", which loses twice as much: composed over several frames, small
  // errors add up (benchmarks/runtime_propagation.py). python/stpl/train/carried.py does the same.
  DisFlow dis_{DisOptions{.finest_scale = 1}};
  FlowField latest_;
  PackedLogits key_logits_, next_key_logits_;
  LogitsView latest_logits_;  // the engine's, where nothing is carried
  Propagation shown_;
  Pending pending_;
  int since_key_ = 0;  // frames since the network was last run or started
};

}  // namespace stpl_rt
