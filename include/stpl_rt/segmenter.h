// Segments a live video stream, frame by frame.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/export.h>
#include <stpl_rt/flow.h>
#include <stpl_rt/frame.h>
#include <stpl_rt/options.h>
#include <stpl_rt/result.h>

#include <filesystem>
#include <memory>

namespace stpl_rt {

// One Segmenter is one stream, used by one thread at a time. A moved-from one can only be assigned to or
// destroyed.
//
//   stpl_rt::Segmenter segmenter("street.bundle", {.schedule = stpl_rt::Schedule::fixed(5)});
//   stpl_rt::Result result = segmenter.push({.data = pixels, .width = 640, .height = 480});
class STPL_RT_API Segmenter {
 public:
  // Reads and validates the bundle and compiles its network. Throws Error.
  explicit Segmenter(const std::filesystem::path& bundle, const SegmenterOptions& options = {});
  explicit Segmenter(Bundle bundle, const SegmenterOptions& options = {});
  ~Segmenter();
  Segmenter(Segmenter&&) noexcept;
  Segmenter& operator=(Segmenter&&) noexcept;
  Segmenter(const Segmenter&) = delete;
  Segmenter& operator=(const Segmenter&) = delete;

  // Segments the next frame of the stream. A frame of another size or format starts the stream anew. A
  // frame that is refused (Error invalid_argument) leaves the stream as it was.
  Result push(const Frame& frame);
  // The same with flow from elsewhere (from this frame into the one pushed before it) in place of our own.
  // Refused, also where it is not needed: vectors that are not finite or longer than 16384 pixels.
  Result push(const Frame& frame, const FlowView& flow);
  // Forgets the past: the next frame is a key frame.
  void reset() noexcept;

  [[nodiscard]] const Bundle& bundle() const noexcept;
  [[nodiscard]] Schedule schedule() const noexcept;
  [[nodiscard]] int threads() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace stpl_rt
