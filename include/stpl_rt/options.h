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
  enum class Kind { every, fixed };

  // The network on every frame: exactly framewise; no flow is computed.
  static Schedule every() noexcept { return Schedule(Kind::every, 1); }
  // The network on every `interval`-th frame, interval >= 1.
  static Schedule fixed(int interval);
  // "every" or "fixed:K"; throws Error(invalid_argument) otherwise.
  static Schedule parse(std::string_view text);

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] int interval() const noexcept { return interval_; }
  // The text that parse() takes.
  [[nodiscard]] std::string to_string() const;

 private:
  Schedule(Kind kind, int interval) noexcept : kind_(kind), interval_(interval) {}
  Kind kind_;
  int interval_;
};

// Arithmetic of the network. Stated, never guessed: engines differ in their own defaults.
enum class Precision { f32, bf16, f16 };

STPL_RT_API const char* to_string(Precision precision) noexcept;
// "f32", "bf16" or "f16"; throws Error(invalid_argument) otherwise.
STPL_RT_API Precision parse_precision(std::string_view text);

struct SegmenterOptions {
  std::string device = "cpu";        // "cpu"; others throw Error(unsupported) in a build without them
  std::optional<Schedule> schedule;  // unset: the bundle's default schedule
  Precision precision = Precision::f32;
  int threads = 0;          // of the network and of the kernels; 0: the cores this process may use
  bool confidence = false;  // also compute Result::confidence
  bool scene_cuts = true;   // answer a cut in the video with a key frame (schedules with propagation)
};

}  // namespace stpl_rt
