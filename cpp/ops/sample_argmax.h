// From low-resolution logits to full-resolution labels in one pass.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "core/thread_pool.h"
#include "ops/compose.h"
#include "ops/geometry.h"

namespace stpl_rt {

// Dense (classes, height, width) float32, as networks give them. 1 to 255 classes.
struct LogitsView {
  const float* data = nullptr;
  int classes = 0;
  int width = 0;
  int height = 0;
};

// A key frame's logits with the classes of one pixel side by side (height, width, padded classes), so that a
// displaced read is a few whole vectors. Made once per key frame, read on the frames that follow.
class PackedLogits {
 public:
  // Throws Error(invalid_argument) for logits that are too many.
  static void check_size(int classes, Size size);
  // Copies; allocates only when it grows. Throws Error(invalid_argument) for a size that cannot be.
  void assign(const LogitsView& logits, ThreadPool& pool);

  [[nodiscard]] const float* data() const noexcept { return buffer_.data(); }
  // One byte a pixel: the largest class of it, its right, its lower and its lower right neighbour, if it is
  // the same of all four: then it is the largest of any bilinear read between them. Else kUndecided.
  [[nodiscard]] const std::uint8_t* cells() const noexcept { return cells_.data(); }
  static constexpr std::uint8_t kUndecided = 255;
  [[nodiscard]] int classes() const noexcept { return classes_; }
  // A multiple of 16. The lanes past the last class repeat class 0, so they can never win.
  [[nodiscard]] int padded_classes() const noexcept { return padded_; }
  [[nodiscard]] Size size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return classes_ == 0; }

 private:
  void decide_cells(const LogitsView& logits, ThreadPool& pool);

  AlignedBuffer<float> buffer_;
  AlignedBuffer<std::uint8_t> cells_;
  AlignedBuffer<std::uint8_t> labels_;  // of the pixels themselves; scratch
  Size size_;
  int classes_ = 0;
  int padded_ = 0;
};

// For each output pixel: bilinear read of the logits (clamped to the border), the class of the largest (the
// lowest such class where several are equal). Full-size logits are never written. `labels` has the
// geometry's output size; `confidence` too, or is empty: round(255 * softmax maximum).
void sample_argmax(const LogitsView& logits, const Geometry& geometry, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, ThreadPool& pool);

// The same with each read displaced by `flow` (t → key), whose grid covers the network's input.
// `validity` (the flow's size, or empty: 1) multiplies the confidence; it never changes a label.
// Flow that is not finite reads from some place inside the frame.
void sample_argmax(const PackedLogits& logits, const Geometry& geometry, const FlowField& flow,
                   ImageView<const float> validity, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, ThreadPool& pool);

// The logits as they were given to `logits`, dense (classes, height, width).
void unpack_logits(const PackedLogits& logits, float* out);

// The logits themselves, carried: at each pixel of the geometry's output (see make_logits_geometry) the
// displaced bilinear read of all classes. `out`: dense (classes, height, width).
void carry_logits(const PackedLogits& logits, const Geometry& geometry, const FlowField& flow, float* out,
                  ThreadPool& pool);

}  // namespace stpl_rt
