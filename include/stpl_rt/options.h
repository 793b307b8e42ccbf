// How a Segmenter runs: device, precision, threads and the schedule of key frames.
#pragma once

#include <stpl_rt/export.h>

#include <optional>
#include <string>
#include <string_view>

namespace stpl_rt {

// When the network runs. On the frames between, the key frame's logits are carried along optical flow.
class STPL_RT_API Schedule {
 public:
  enum class Kind { every, fixed, adaptive };

  // Of adaptive(): about every fifth frame of 15 Hz video from a car in town, see docs/runtime.md.
  static constexpr double kDrift = 0.4;
  static constexpr int kLongest = 30;

  // The network on every frame: exactly framewise; no flow is computed.
  static Schedule every() noexcept { return {Kind::every, 1, 0}; }
  // The network on every `interval`-th frame, interval >= 1.
  static Schedule fixed(int interval);
  // The network where what is carried can no longer be trusted: on the first frame at which the drift of the
  // frames since the key frame sums up to more than `drift`, and on the `longest`-th frame after a key frame
  // at the latest. A frame's drift is 0 to 1: how far the picture has come from its key frame, in its own
  // sides, and how much of it that does not explain. `drift`: 0 (every frame that moves at all) to 1000.
  static Schedule adaptive(double drift = kDrift, int longest = kLongest);
  // "every", "fixed:K", "adaptive", "adaptive:DRIFT" or "adaptive:DRIFT:LONGEST"; throws
  // Error(invalid_argument) otherwise.
  static Schedule parse(std::string_view text);

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  // Frames from one key frame to the next: 1, K, or for adaptive() the most.
  [[nodiscard]] int interval() const noexcept { return interval_; }
  [[nodiscard]] double drift() const noexcept { return drift_; }
  // Whether there are frames between key frames.
  [[nodiscard]] bool propagates() const noexcept { return interval_ > 1; }
  // The text that parse() takes.
  [[nodiscard]] std::string to_string() const;

 private:
  Schedule(Kind kind, int interval, double drift) noexcept
      : kind_(kind), interval_(interval), drift_(drift) {}
  Kind kind_;
  int interval_;
  double drift_;
};

// Arithmetic of the network. Stated, never guessed: engines differ in their own defaults.
enum class Precision { f32, bf16, f16 };

STPL_RT_API const char* to_string(Precision precision) noexcept;
// "f32", "bf16" or "f16"; throws Error(invalid_argument) otherwise.
STPL_RT_API Precision parse_precision(std::string_view text);

struct SegmenterOptions {
  std::string device = "cpu";  // "cpu", "cuda" or "cuda:1"; Error(unsupported) in a build without them
  std::optional<Schedule> schedule = std::nullopt;  // unset: the bundle's default schedule
  Precision precision = Precision::f32;
  int threads = 0;          // of the network and of the kernels; 0: the cores this process may use
  bool confidence = false;  // also compute Result::confidence
  bool scene_cuts = true;   // answer a cut in the video with a key frame (schedules with propagation)
  // Forward-backward check: search the flow the other way round, too, and trust no pixel that does not come
  // back to where it was. It lowers the confidence, and adaptive schedules count it as drift. It costs a
  // second search a frame; flow from elsewhere is not checked.
  bool flow_check = false;
  // Frames by which the network may be late. 0: push() waits for it. D > 0: it runs in the background while
  // propagated labels go on, and what it said is adopted exactly D frames later, carried there by its own
  // flow; the labels do not depend on how fast it is. Needs a schedule with more than D frames between keys.
  int key_lag = 0;
  // Accel mode, with the optional networks of a bundle; what they say is shown, never carried on.
  bool fuse = false;  // "fuse": a key frame's logits with those carried to it, so that flow is computed even
                      // in schedule `every`; not with key_lag
  bool update = false;  // "update": corrects what was carried to the frames between key frames
  int queue = 4;        // frames that submit() takes before the first result is collected, 1 to 1024
  // On a GPU: the maps stay in its memory (Result::device_labels), and push() does not wait for them.
  bool device_labels = false;
  // On a GPU: the cudaStream_t on which all is enqueued and which outlives the Segmenter; null: one of its
  // own. Not cudaStreamPerThread: submitted frames are worked on by a thread of the Segmenter's.
  void* cuda_stream = nullptr;
  // On a GPU: build a TensorRT plan, which takes up to minutes, where the user's cache has none that fits.
  bool build_engines = false;
  // On a GPU: use TensorRT plans that came with the bundle. A plan is code: only of a maker you trust.
  bool trust_engines = false;
};

}  // namespace stpl_rt
