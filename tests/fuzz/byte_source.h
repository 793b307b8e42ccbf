// Values drawn from the bytes of a fuzzer's input, in order; zeros once they are used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace stpl_rt::fuzz {

class ByteSource {
 public:
  ByteSource(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

  std::uint8_t byte() {
    if (left_.empty()) return 0;
    const std::uint8_t value = left_.front();
    left_ = left_.subspan(1);
    return value;
  }
  bool flag() { return (byte() & 1) != 0; }
  // One byte's worth of `low` to `high`.
  int small(int low, int high) { return low + byte() % (high - low + 1); }
  // Any value at all of an integer type.
  template <class Integer>
  Integer any() {
    Integer value = 0;
    const std::size_t count = std::min(sizeof(value), left_.size());
    if (count > 0) std::memcpy(&value, left_.data(), count);
    left_ = left_.subspan(count);
    return value;
  }
  // A length in one byte, then that many bytes.
  std::string text() {
    const std::size_t wanted = byte();  // before what is left of the rest is asked for
    const std::size_t count = std::min(wanted, left_.size());
    std::string taken(left_.begin(), left_.begin() + static_cast<std::ptrdiff_t>(count));
    left_ = left_.subspan(count);
    return taken;
  }
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return left_; }

 private:
  std::span<const std::uint8_t> left_;
};

}  // namespace stpl_rt::fuzz
