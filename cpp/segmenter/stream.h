// One stream on the CPU: what is kept from frame to frame, and what is done with the next.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/byte_pool.h"
#include "core/thread_pool.h"
#include "flow/dis.h"
#include "ops/sample_argmax.h"
#include "segmenter/frame_buffer.h"
#include "segmenter/key_frame_policy.h"
#include "segmenter/propagation.h"
#include "segmenter/video_stream.h"

namespace stpl_rt {

// Used by one thread at a time. What is kept between frames changes in the commit functions alone, which
// cannot fail: whatever is thrown before leaves the stream as it was, or, where a late network has been given
// up or has failed, lets it begin anew with a key frame.
class Stream final : public VideoStream {
 public:
  Stream(const Bundle& bundle, const SegmenterOptions& options, StreamNetworks networks);

  Result push(const Frame& frame, const FrameInfo& info) override;
  Result start(const Frame& frame, const FrameInfo& info) override;
  void reset() noexcept override;
  void logits(std::vector<float>& out) override;
  void wait() noexcept override;

 private:
  Result segment(const Frame& frame, const FrameInfo& info, bool checks);
  void segment(const Frame& frame, const FrameInfo& info, Result& result);
  KeyReason follow(const Frame& frame, const FrameInfo& info);
  void adopt_if_due(Timing& timing);
  void prepare_input(const Frame& frame, Engine& engine, Timing& timing);
  void carry(std::span<float> out, const Geometry& geometry, Timing& timing);
  [[nodiscard]] LogitsView fused(const LogitsView& logits, const Geometry& geometry, Timing& timing);
  void show_updated(const Frame& frame, const Geometry& geometry, Result& result);
  [[nodiscard]] LogitsView run_network(const Frame& frame, Timing& timing);
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
  const bool confidence_;
  const bool scene_cuts_;
  const bool flow_check_;
  const bool carries_;  // whether logits are kept, and flow is computed
  KeyFramePolicy policy_;
  ThreadPool pool_;
  const StreamNetworks networks_;  // as long as they are held, other streams find them
  std::unique_ptr<Engine> engine_, fuse_, update_;
  const Size grid_;  // of luma and flow
  BytePool maps_;

  Geometry geometry_;  // of the latest frame
  std::uint64_t next_index_ = 0;
  FrameBuffer frames_;
  // One level finer than OpenCV's "ultrafast", which loses twice as much: composed over several frames, small
  // errors add up (benchmarks/runtime_propagation.py). python/stpl/train/carried.py does the same.
  DisFlow dis_{DisOptions{.finest_scale = 1}};
  FlowField latest_;
  FlowField back_;  // where flow is checked
  PackedLogits key_logits_, next_key_logits_;
  LogitsView latest_logits_;  // the engine's, where nothing is carried
  Propagation shown_;
  Propagation pending_;  // of the key frame whose network runs in the background
};

}  // namespace stpl_rt
