// Whether frames are missing, by their timestamps.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
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
    return passed < 0 || (count_ > 0 && passed > kMissing * usual());
  }

  void commit(std::optional<double> timestamp) noexcept {
    if (timestamp && last_ && *timestamp > *last_) {
      waits_[next_] = *timestamp - *last_;
      next_ = (next_ + 1) % waits_.size();
      count_ = std::min(count_ + 1, waits_.size());
    }
    last_ = timestamp;
  }

 private:
  // The median: neither a gap nor a frame that came late, and the short wait after it, teach what is usual.
  [[nodiscard]] double usual() const noexcept {
    std::array<double, kWaits> sorted = waits_;
    auto* const middle = sorted.begin() + count_ / 2;
    std::nth_element(sorted.begin(), middle, sorted.begin() + count_);
    return *middle;
  }

  // Two frames or more are missing, three distances to the last: one is bridged by the flow, and cameras
  // jitter.
  static constexpr double kMissing = 2.5;
  static constexpr std::size_t kWaits = 9;
  std::optional<double> last_;  // seconds
  std::array<double, kWaits> waits_{};
  std::size_t next_ = 0;
  std::size_t count_ = 0;  // of waits_ that are known
};

}  // namespace stpl_rt
