// What stpl-segment says of a whole run.
#pragma once

#include <stpl_rt/result.h>

#include <array>
#include <cstddef>
#include <string>
#include <vector>

namespace stpl_rt::cli {

class Summary {
 public:
  void add(const Result& result);
  // Several lines: counts, speed, and per frame type the median and 99th percentile of push().
  [[nodiscard]] std::string text(double wall_seconds) const;

 private:
  std::vector<double> key_ms_, propagated_ms_;
  std::array<int, static_cast<std::size_t>(KeyReason::size_change) + 1> reasons_{};  // by KeyReason
};

// The nearest-rank percentile of `values`, 0 < percent <= 100; 0 where there are none.
double percentile(std::vector<double> values, double percent);

}  // namespace stpl_rt::cli
