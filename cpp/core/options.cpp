#include <stpl_rt/error.h>
#include <stpl_rt/options.h>

#include <array>
#include <charconv>

namespace stpl_rt {
namespace {

// Longer intervals are a typing mistake: an hour of 30 Hz video.
constexpr int kMaxInterval = 100000;
constexpr double kMaxDrift = 1000;

[[noreturn]] void refuse(const std::string& expected, std::string_view found) {
  // The text may come from an untrusted manifest: keep the message short.
  constexpr std::size_t kShown = 40;
  std::string shown(found.substr(0, kShown));
  if (found.size() > kShown) shown += "...";
  throw Error(ErrorCode::invalid_argument, "expected " + expected + ", found \"" + shown + "\"");
}

// What follows `prefix`, where that is a number and nothing else.
template <class Number>
std::optional<Number> number_after(std::string_view text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return std::nullopt;
  const std::string_view digits = text.substr(prefix.size());
  Number value{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

Schedule Schedule::fixed(int interval) {
  if (interval < 1 || interval > kMaxInterval) {
    throw Error(ErrorCode::invalid_argument, "expected a key-frame interval from 1 to " +
                                                 std::to_string(kMaxInterval) + ", found " +
                                                 std::to_string(interval));
  }
  return {Kind::fixed, interval, 0};
}

Schedule Schedule::adaptive(double drift, int longest) {
  if (!(drift >= 0 && drift <= kMaxDrift)) {
    throw Error(ErrorCode::invalid_argument,
                "adaptive: expected a drift from 0 to 1000, found " + std::to_string(drift));
  }
  if (longest < 2 || longest > kMaxInterval) {
    throw Error(ErrorCode::invalid_argument,
                "adaptive: expected at most 2 to " + std::to_string(kMaxInterval) +
                    " frames between key frames, found " + std::to_string(longest));
  }
  return {Kind::adaptive, longest, drift};
}

Schedule Schedule::parse(std::string_view text) {
  if (text == "every") return every();
  if (text == "adaptive") return adaptive();
  if (const auto interval = number_after<int>(text, "fixed:")) {
    if (*interval >= 1 && *interval <= kMaxInterval) return fixed(*interval);
  }
  const std::size_t colon = text.rfind(':');
  if (const auto drift = number_after<double>(text, "adaptive:")) {
    if (*drift >= 0 && *drift <= kMaxDrift) return adaptive(*drift);
  } else if (colon != std::string_view::npos) {
    const auto first = number_after<double>(text.substr(0, colon), "adaptive:");
    const auto longest = number_after<int>(text.substr(colon), ":");
    if (first && longest && *first >= 0 && *first <= kMaxDrift && *longest >= 2 && *longest <= kMaxInterval) {
      return adaptive(*first, *longest);
    }
  }
  refuse("a schedule \"every\", \"fixed:K\" with K from 1 to " + std::to_string(kMaxInterval) +
             ", \"adaptive\", \"adaptive:DRIFT\" with DRIFT from 0 to 1000 or \"adaptive:DRIFT:LONGEST\"",
         text);
}

std::string Schedule::to_string() const {
  if (kind_ == Kind::every) return "every";
  if (kind_ == Kind::fixed) return "fixed:" + std::to_string(interval_);
  std::array<char, 32> drift{};  // the shortest text that reads back as the same number
  const auto [end, error] = std::to_chars(drift.data(), drift.data() + drift.size(), drift_);
  return "adaptive:" + std::string(drift.data(), end) + ":" + std::to_string(interval_);
}

const char* to_string(Precision precision) noexcept {
  switch (precision) {
    case Precision::f32:
      return "f32";
    case Precision::bf16:
      return "bf16";
    case Precision::f16:
      return "f16";
  }
  return "unknown";
}

Precision parse_precision(std::string_view text) {
  if (text == "f32") return Precision::f32;
  if (text == "bf16") return Precision::bf16;
  if (text == "f16") return Precision::f16;
  refuse("a precision \"f32\", \"bf16\" or \"f16\"", text);
}

}  // namespace stpl_rt
