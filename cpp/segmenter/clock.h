// Whether frames are missing, by their timestamps.
#pragma once

#include <algorithm>
#include <optional>

namespace stpl_rt {

// Learns how far apart frames are, and tells a longer wait from the usual. Frames without a timestamp say
// nothing.
class Clock {
 public:
  // Whether more time has passed since the last frame than between others, or time went back.
  [[nodiscard]] bool is_gap(std::optional<double> timestamp) const noexcept {
    if (!timestamp || !last_) return false;
    const double passed = *timestamp - *last_;
    return passed <= 0 || (usual_ > 0 && passed > kMissing * usual_);
  }

  void commit(std::optional<double> timestamp) noexcept {
    if (timestamp && last_ && *timestamp > *last_) {
      const double passed = *timestamp - *last_;
      // Shorter waits count at once, longer ones slowly: a gap must not teach that gaps are usual.
      usual_ = usual_ > 0 ? std::min(passed, (1 - kRate) * usual_ + kRate * passed) : passed;
    }
    last_ = timestamp;
  }

 private:
  // Two frames and more are missing: one is bridged by the flow, and cameras jitter.
  static constexpr double kMissing = 2.5;
  static constexpr double kRate = 0.1;
  std::optional<double> last_;  // seconds
  double usual_ = 0;
};

}  // namespace stpl_rt
