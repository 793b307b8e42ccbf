// Segments a live video stream, frame by frame.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/export.h>
#include <stpl_rt/flow.h>
#include <stpl_rt/frame.h>
#include <stpl_rt/options.h>
#include <stpl_rt/result.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>

namespace stpl_rt {

// What may be known of a frame beside its pixels.
struct FrameInfo {
  // Seconds, finite, of any clock that goes on with the video. Where two frames or more are missing since the
  // frame before, or time goes back, the frame is a key frame.
  std::optional<double> timestamp = std::nullopt;
  // From elsewhere, of this frame into the one pushed before it, in place of our own. Refused, also where it
  // is not needed: vectors that are not finite or longer than 16384 pixels.
  std::optional<FlowView> flow = std::nullopt;
};

// One Segmenter is one stream, used by one thread at a time: a call while another thread is inside one throws
// Error(in_use) and changes nothing. A moved-from one can only be assigned to or destroyed.
//
//   stpl_rt::Segmenter segmenter("street.bundle", {.schedule = stpl_rt::Schedule::fixed(5)});
//   stpl_rt::Result result = segmenter.push({.data = pixels, .width = 640, .height = 480});
class STPL_RT_API Segmenter {
 public:
  // Reads and validates the bundle and compiles its network. Throws Error.
  explicit Segmenter(const std::filesystem::path& bundle, const SegmenterOptions& options = {});
  // Several streams: Segmenters of one Bundle share its compiled network, whose runs queue for its threads.
  // The labels of a stream are the same, bit for bit, alone and beside others.
  explicit Segmenter(const Bundle& bundle, const SegmenterOptions& options = {});
  ~Segmenter();
  Segmenter(Segmenter&&) noexcept;
  Segmenter& operator=(Segmenter&&) noexcept;
  Segmenter(const Segmenter&) = delete;
  Segmenter& operator=(const Segmenter&) = delete;

  // Segments the next frame of the stream. A frame of another size or format starts the stream anew. A
  // frame that is refused (Error invalid_argument) leaves the stream as it was.
  Result push(const Frame& frame, const FrameInfo& info = {});
  // The same with flow from elsewhere.
  Result push(const Frame& frame, const FlowView& flow);
  // Forgets the past: the next frame is a key frame, and all that follow are as those of a new Segmenter, but
  // for their index.
  void reset();

  // The same in the background, by a thread of the Segmenter's own: submit() gives it a frame, collect()
  // returns the results in the order of the frames, and throws what push() would have thrown in its place.
  // submit() waits while options.queue frames are on their way; the pixels are copied, or, with an `owner`
  // that keeps them alive, used where they lie. Flow from elsewhere is copied. One thread may submit while
  // another collects; push() and reset() throw Error(in_use) until all is collected.
  void submit(const Frame& frame, const FrameInfo& info = {}, std::shared_ptr<const void> owner = nullptr);
  // Returns false and takes nothing where submit() would wait for longer than `patience`.
  bool try_submit(const Frame& frame, const FrameInfo& info = {}, std::shared_ptr<const void> owner = nullptr,
                  std::chrono::milliseconds patience = {});
  // Waits for the next result. Throws Error(invalid_argument) where no frame is on its way.
  Result collect();
  // Waits until nothing of it is at work in the background: what was submitted is done, and stays to be
  // collected, and no late network (key_lag) runs. For those who must know, as before the process ends.
  void wait();
  // Frames submitted and not collected.
  [[nodiscard]] std::size_t pending() const noexcept;

  // Logits of the latest frame, dense (classes, height, width) of bundle().logits: on a key frame the
  // network's, on others those of the key frame, carried along the flow. Throws Error(invalid_argument)
  // before the first frame, and, with the schedule "every", after a push on which the network failed.
  void logits(std::vector<float>& out);

  // On a GPU: the cudaStream_t on which all of it is enqueued, null on the CPU.
  [[nodiscard]] void* cuda_stream() const noexcept;
  // N of "cuda:N"; -1 on the CPU.
  [[nodiscard]] int cuda_device() const noexcept;
  // Makes that GPU the calling thread's for as long as what it returns lives; null on the CPU.
  [[nodiscard]] std::shared_ptr<void> use_device() const;
  // Throws Error(invalid_argument) where `memory` is known to lie on another GPU; `name` is what it is of.
  void check_device(const void* memory, const std::string& name) const;
  // On a GPU: what is pushed or submitted from now on comes after all that is on the cudaStream_t `producer`
  // now, which may be writing the frame. Submitted frames may be on their way. Error(unsupported) on the CPU.
  void order_after(void* producer);

  [[nodiscard]] const Bundle& bundle() const noexcept;
  [[nodiscard]] Schedule schedule() const noexcept;
  [[nodiscard]] int threads() const noexcept;
  [[nodiscard]] int queue() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stpl_rt
