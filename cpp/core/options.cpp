#include <stpl_rt/error.h>
#include <stpl_rt/options.h>

#include <charconv>

namespace stpl_rt {
namespace {

// Longer intervals are a typing mistake: an hour of 30 Hz video.
constexpr int kMaxInterval = 100000;

[[noreturn]] void refuse(const std::string& expected, std::string_view found) {
  // The text may come from an untrusted manifest: keep the message short.
  constexpr std::size_t kShown = 40;
  std::string shown(found.substr(0, kShown));
  if (found.size() > kShown) shown += "...";
  throw Error(ErrorCode::invalid_argument, "expected " + expected + ", found \"" + shown + "\"");
}

}  // namespace

Schedule Schedule::fixed(int interval) {
  if (interval < 1 || interval > kMaxInterval) {
    throw Error(ErrorCode::invalid_argument, "expected a key-frame interval from 1 to " +
                                                 std::to_string(kMaxInterval) + ", found " +
                                                 std::to_string(interval));
  }
  return {Kind::fixed, interval};
}

Schedule Schedule::parse(std::string_view text) {
  if (text == "every") return every();
  constexpr std::string_view kFixed = "fixed:";
  if (text.substr(0, kFixed.size()) == kFixed) {
    const std::string_view digits = text.substr(kFixed.size());
    int interval = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), interval);
    const bool whole = error == std::errc() && end == digits.data() + digits.size();
    if (whole && interval >= 1 && interval <= kMaxInterval) return fixed(interval);
  }
  refuse("a schedule \"every\" or \"fixed:K\" with K from 1 to " + std::to_string(kMaxInterval), text);
}

std::string Schedule::to_string() const {
  return kind_ == Kind::every ? "every" : "fixed:" + std::to_string(interval_);
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
