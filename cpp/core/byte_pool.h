// Memory of results, used again when nobody holds it any more.
#pragma once

#include <stpl_rt/byte_map.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace stpl_rt {

// Results whose memory is kept: those in the queue, each with labels and confidence, however long it is, and
// as many as whoever collects may keep beside them.
constexpr std::size_t pooled_maps(int queue) noexcept { return 64 + 2 * static_cast<std::size_t>(queue); }

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

  // Of ordinary memory. Maps beyond `most` that are held at a time are freed, not pooled.
  explicit BytePool(std::size_t most);
  BytePool(Make make, std::size_t most) : make_(make), most_(most) {}
  ~BytePool();
  BytePool(BytePool&&) = delete;
  BytePool(const BytePool&) = delete;
  BytePool& operator=(const BytePool&) = delete;

  // Memory that no map holds, allocated where there is none; its content is whatever it was.
  ByteMap take(int width, int height);
  // The only way to write to a map: for its maker, before anybody else has it.
  static std::uint8_t* writable(const ByteMap& map) noexcept;

 private:
  const Make make_;
  const std::size_t most_;
  std::vector<ByteBlock*> blocks_;
};

}  // namespace stpl_rt
