#include "cli/summary.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace stpl_rt::cli {
namespace {

std::string format(const char* pattern, double a, double b) {
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), pattern, a, b);
  return text.data();
}

std::string line(const char* name, const std::vector<double>& milliseconds) {
  if (milliseconds.empty()) return "";
  return std::string("  ") + name +
         format("push p50 %.2f ms, p99 %.2f ms", percentile(milliseconds, 50), percentile(milliseconds, 99)) +
         " over " + std::to_string(milliseconds.size()) + " frames\n";
}

}  // namespace

double percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
  const auto index = static_cast<std::ptrdiff_t>(std::max(rank, 1.0)) - 1;
  std::nth_element(values.begin(), values.begin() + index, values.end());
  return values[static_cast<std::size_t>(index)];
}

void Summary::add(const Result& result) {
  (result.is_key ? key_ms_ : propagated_ms_).push_back(result.timing.total_ms);
  ++reasons_[static_cast<std::size_t>(result.key_reason)];
}

std::string Summary::text(double wall_seconds) const {
  const std::size_t frames = key_ms_.size() + propagated_ms_.size();
  const double push_seconds = (std::accumulate(key_ms_.begin(), key_ms_.end(), 0.0) +
                               std::accumulate(propagated_ms_.begin(), propagated_ms_.end(), 0.0)) /
                              1000;
  std::string text = std::to_string(frames) + " frames, " + std::to_string(key_ms_.size()) + " of them keys";
  std::string why;
  for (std::size_t reason = 1; reason < reasons_.size(); ++reason) {
    if (reasons_[reason] == 0) continue;
    why += (why.empty() ? "" : ", ") + std::string(to_string(static_cast<KeyReason>(reason))) + " " +
           std::to_string(reasons_[reason]);
  }
  text += why.empty() ? "\n" : " (" + why + ")\n";
  const auto count = static_cast<double>(frames);
  text += format("  %.1f frames/s in push, %.1f with reading and writing\n",
                 count / std::max(push_seconds, 1e-9), count / std::max(wall_seconds, 1e-9));
  return text + line("key:        ", key_ms_) + line("propagated: ", propagated_ms_);
}

}  // namespace stpl_rt::cli
