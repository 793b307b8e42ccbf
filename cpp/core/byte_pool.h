// Memory of results, used again when nobody holds it any more.
#pragma once

#include <stpl_rt/byte_map.h>

#include <vector>

namespace stpl_rt {

// One thread makes maps; any thread may let go of them, also after the pool.
class BytePool {
 public:
  BytePool() = default;
  ~BytePool();
  BytePool(BytePool&&) = delete;
  BytePool(const BytePool&) = delete;
  BytePool& operator=(const BytePool&) = delete;

  // Memory that no map holds, allocated where there is none; its content is whatever it was.
  ByteMap take(int width, int height);
  // The only way to write to a map: for its maker, before anybody else has it.
  static std::uint8_t* writable(const ByteMap& map) noexcept;

 private:
  // Maps that somebody keeps beyond these are freed, not pooled.
  static constexpr std::size_t kMostBlocks = 64;
  std::vector<ByteBlock*> blocks_;
};

}  // namespace stpl_rt
