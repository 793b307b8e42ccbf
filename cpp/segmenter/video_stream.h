// What a Segmenter asks of one stream, on whatever it runs.
#pragma once

#include <stpl_rt/segmenter.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace stpl_rt {

// Used by one thread at a time, but for finish() and order_after().
class VideoStream {
 public:
  virtual ~VideoStream() = default;
  VideoStream(const VideoStream&) = delete;
  VideoStream& operator=(const VideoStream&) = delete;

  // See Segmenter.
  virtual Result push(const Frame& frame, const FrameInfo& info) = 0;
  virtual void reset() noexcept = 0;
  virtual void logits(std::vector<float>& out) = 0;
  // Until nothing of it is at work.
  virtual void wait() noexcept = 0;
  [[nodiscard]] virtual void* cuda_stream() const noexcept { return nullptr; }
  [[nodiscard]] virtual int cuda_device() const noexcept { return -1; }
  [[nodiscard]] virtual std::shared_ptr<void> use_device() const { return nullptr; }
  // The calling thread works for this stream alone from now on.
  virtual void enter_thread() noexcept {}
  virtual void check_device(const void* /*memory*/, const std::string& /*name*/) const {}
  // While another thread may be in start().
  virtual void order_after(void* producer);

  // push() in two halves, for frames that overlap: what start() returns is whole after finish(), which any
  // thread may call, and which throws what is found out by then. Host memory that is not pinned is free after
  // start(), which takes what check_pushed() has passed and reads all of its flow no second time.
  virtual Result start(const Frame& frame, const FrameInfo& info) = 0;
  virtual void finish(Result& /*result*/) const {}

 protected:
  VideoStream() = default;
};

// Of one stream; what options do not ask for is null.
struct StreamNetworks {
  std::shared_ptr<const CompiledNetwork> segment, fuse, update;
};

// What ops cannot know: a frame may come from another language, and its size goes into allocations. Also
// checks what is known of it. Throws Error(invalid_argument).
void check_pushed(const Frame& frame, const FrameInfo& info);

[[noreturn]] void refuse_device(const std::string& name, int expected, int found);

// Where the options' device says. The bundle outlives the stream. Throws Error.
std::unique_ptr<VideoStream> make_stream(const Bundle& bundle, const SegmenterOptions& options,
                                         StreamNetworks networks);
// On a GPU, number `device`.
std::unique_ptr<VideoStream> make_device_stream(const Bundle& bundle, const SegmenterOptions& options,
                                                int device, const StreamNetworks& networks);

}  // namespace stpl_rt
