// One byte for each pixel of a frame, in memory that copies share and that goes back to where it came from.
#pragma once

#include <stpl_rt/export.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace stpl_rt {

struct ByteBlock;
class BytePool;

// Row by row without padding. Nobody writes to it once push() has returned it, so copies share the memory and
// may be kept by any thread, also when the Segmenter is gone. With the last copy the memory goes back to the
// Segmenter for a later result.
class STPL_RT_API ByteMap {
 public:
  ByteMap() noexcept = default;
  ~ByteMap();
  ByteMap(const ByteMap& other) noexcept;
  ByteMap(ByteMap&& other) noexcept;
  ByteMap& operator=(const ByteMap& other) noexcept;
  ByteMap& operator=(ByteMap&& other) noexcept;

  [[nodiscard]] int width() const noexcept { return width_; }
  [[nodiscard]] int height() const noexcept { return height_; }
  [[nodiscard]] bool empty() const noexcept { return block_ == nullptr; }
  // width() * height(), 0 where empty.
  [[nodiscard]] std::size_t size() const noexcept {
    return static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_);
  }
  [[nodiscard]] const std::uint8_t* data() const noexcept;
  [[nodiscard]] const std::uint8_t* row(int y) const noexcept {
    return data() + static_cast<std::ptrdiff_t>(y) * width_;
  }
  [[nodiscard]] std::uint8_t at(int x, int y) const noexcept { return row(y)[x]; }
  [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept { return {data(), size()}; }
  // Of one size and content.
  STPL_RT_API friend bool operator==(const ByteMap& a, const ByteMap& b) noexcept;

 private:
  friend class BytePool;
  ByteMap(ByteBlock* block, int width, int height) noexcept : block_(block), width_(width), height_(height) {}

  ByteBlock* block_ = nullptr;
  int width_ = 0;
  int height_ = 0;
};

}  // namespace stpl_rt
