// Memory of results, used again when nobody holds it any more.
#pragma once

#include <stpl_rt/byte_map.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace stpl_rt {

// Memory of one map after the other. Counts its maps, and its pool as one more holder.
struct ByteBlock {
  ByteBlock() = default;
  virtual ~ByteBlock() = default;
  ByteBlock(const ByteBlock&) = delete;
  ByteBlock& operator=(const ByteBlock&) = delete;

  virtual void reserve(std::size_t bytes) = 0;
  [[nodiscard]] virtual std::uint8_t* data() const noexcept = 0;

  std::atomic<int> holders{1};
};

// One thread makes maps; any thread may let go of them, also after the pool.
class BytePool {
 public:
  using Make = std::unique_ptr<ByteBlock> (*)();

  BytePool();  // of ordinary memory
  explicit BytePool(Make make) : make_(make) {}
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
  const Make make_;
  std::vector<ByteBlock*> blocks_;
};

}  // namespace stpl_rt
