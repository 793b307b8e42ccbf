// stream.h on the GPU: frames and labels stay in its memory, and the host enqueues.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/byte_pool.h"
#include "core/cuda/device.h"
#include "core/cuda/map_pool.h"
#include "core/cuda/memory.h"
#include "core/cuda/pinned_staging.h"
#include "core/cuda/stream.h"
#include "engine/device_engine.h"
#include "flow/dis_cuda.h"
#include "flow/pyramid_cuda.h"
#include "ops/preprocess_cuda.h"
#include "ops/similarity_cuda.h"
#include "segmenter/device_network.h"
#include "segmenter/device_propagation.h"
#include "segmenter/frame_upload.h"
#include "segmenter/frames_in_flight.h"
#include "segmenter/graph_cache.h"
#include "segmenter/key_frame_policy.h"
#include "segmenter/stage_clock.h"
#include "segmenter/video_stream.h"

namespace stpl_rt {

struct DeviceOptions {
  int device = 0;
  bool graphs = true;
};

// Of one stream; what options do not ask for is null.
struct DeviceEngines {
  std::unique_ptr<DeviceEngine> segment, fuse, update;
  StreamNetworks of = {};
};

// start() waits for the device only where a decision needs a number from it (scene cuts, adaptive schedules),
// and where a new size needs other buffers. push() also waits for the labels, unless they stay on the device.
//
// A frame whose logits are not finite throws Error(engine) as on the CPU where push() waits. Where it does
// not, DeviceMap::wait() and finish() throw it, for that frame and all that show its logits; the next push
// that finds out begins with a key frame, and throws it first where nobody has been told.
class DeviceStream final : public VideoStream {
 public:
  // The bundle outlives the stream.
  static std::unique_ptr<DeviceStream> make(const Bundle& bundle, const SegmenterOptions& options,
                                            const DeviceOptions& device, DeviceEngines engines);
  ~DeviceStream() override;

  // Flow in host memory is read before they return.
  Result push(const Frame& frame, const FrameInfo& info) override;
  Result start(const Frame& frame, const FrameInfo& info) override;
  void finish(Result& result) const override;
  void reset() noexcept override { policy_.reset(); }
  void logits(std::vector<float>& out) override;
  void wait() noexcept override;
  [[nodiscard]] void* cuda_stream() const noexcept override { return stream_; }
  [[nodiscard]] int cuda_device() const noexcept override { return device_.device; }
  [[nodiscard]] std::shared_ptr<void> use_device() const override;
  void enter_thread() noexcept override { cuda::stay_on(device_.device); }
  void check_device(const void* memory, const std::string& name) const override;
  void order_after(void* producer) override;

 private:
  // On the calling thread's device.
  DeviceStream(const Bundle& bundle, const SegmenterOptions& options, const DeviceOptions& device,
               DeviceEngines engines);

  // What the host reads of a frame before it is done.
  struct Numbers {
    cuda::PairMoments moments;
    std::array<double, 2> drift;  // of ways_
  };
  // A frame's luma, and its pyramid once flow has asked for it.
  struct LumaFrame {
    cuda::DeviceImage<std::uint8_t> luma;
    cuda::Pyramid pyramid;
    bool has_pyramid = false;
  };
  enum class Part : std::uint32_t { luma, follow, preprocess, network, key, fuse, update };

  Result segment(const Frame& frame, const FrameInfo& info, bool waits);
  void segment(const Frame& frame, const FrameInfo& info, bool waits, Result& result);
  void prepare(const Frame& frame);
  KeyReason follow(const FrameInfo& info);
  void enqueue_follow(bool has_flow, bool follows_shown, cuda::StreamHandle stream);
  void read_external_flow(const FlowView& flow);
  [[nodiscard]] FlowView on_device(const FlowView& flow);
  [[nodiscard]] KeyReason read_numbers(bool follows_shown);
  void adopt_if_due();
  void drop_pending();
  void show_key(const Geometry& geometry, Result& result);
  void run_network();
  void run_fuse(const Geometry& geometry);
  void run_update(const Geometry& geometry);
  void show_propagated(const Geometry& geometry, Result& result);
  void start_network();
  [[nodiscard]] MapViews allocate(Result& result, Size size);
  void copy_to_host(Result& result);
  void end(Result& result, bool breaks, bool waits);
  void commit(const Frame& frame, const FrameInfo& info, const Result& result,
              const Geometry& geometry) noexcept;

  template <class Enqueue>
  void run(Part part, std::uint32_t constellation, cuda::StreamHandle stream, Enqueue&& enqueue);

  [[nodiscard]] std::size_t current() const noexcept { return 1 - past_; }
  [[nodiscard]] DevicePropagation& shown() noexcept { return ways_[shown_]; }
  [[nodiscard]] DevicePropagation& pending() noexcept { return ways_[1 - shown_]; }
  // What fuse and update are given depends on these buffers.
  [[nodiscard]] std::uint32_t carried_constellation() const noexcept;

  const Bundle& bundle_;
  const DeviceOptions device_;
  const StreamNetworks networks_;  // as long as they are held, other streams find them
  const bool device_labels_;
  const bool confidence_;
  const bool adaptive_;
  const bool carries_;     // whether logits are kept, and flow is computed
  const bool scene_cuts_;  // where there is flow
  const bool flow_check_;
  const Size grid_;  // of luma and flow
  KeyFramePolicy policy_;

  std::optional<cuda::Stream> own_stream_, network_stream_;  // the second where the network may be late
  const cuda::StreamHandle stream_;
  cuda::Event input_ready_, network_ready_, numbers_ready_;
  cuda::Event produced_;  // for order_after() alone
  DeviceNetwork network_;
  std::optional<DeviceNetwork> fuse_, update_;
  FrameUpload upload_;
  cuda::PinnedStaging flow_staging_;
  cuda::DeviceBuffer<std::byte> flow_input_;
  cuda::FramePlan plan_;  // of the latest size
  GraphCache graphs_;
  StageClock clock_;
  FramesInFlight in_flight_;
  std::shared_ptr<FrameWork> work_;  // of the frame being pushed
  cuda::MapPool device_maps_;
  BytePool host_maps_;

  std::array<LumaFrame, 2> frames_;
  cuda::DisFlow dis_;
  cuda::DeviceFlow latest_, none_;
  cuda::DeviceFlow back_;  // where flow is checked
  cuda::DeviceBuffer<cuda::BlockMoments> moments_;
  cuda::PinnedBuffer<Numbers> numbers_;

  // What is kept from frame to frame.
  std::uint64_t next_index_ = 0;
  Geometry geometry_;  // of the latest frame
  bool has_logits_ = false;
  std::size_t past_ = 0;
  std::array<DevicePropagation, 2> ways_;
  std::size_t shown_ = 0;   // of ways_
  std::size_t logits_ = 0;  // which of the network's buffers is shown
};

}  // namespace stpl_rt
