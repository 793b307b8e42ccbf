#include "core/byte_pool.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "core/image.h"

namespace stpl_rt {

namespace {

struct HostBlock final : ByteBlock {
  void reserve(std::size_t size) override { bytes.reserve(size); }
  [[nodiscard]] std::uint8_t* data() const noexcept override { return bytes.data(); }
  AlignedBuffer<std::uint8_t> bytes;
};

void hold(ByteBlock* block) noexcept {
  if (block != nullptr) block->holders.fetch_add(1, std::memory_order_relaxed);
}

// Whoever writes to or frees the memory next has seen all that was read from it before.
void let_go(ByteBlock* block) noexcept {
  if (block != nullptr && block->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) delete block;
}

}  // namespace

ByteMap::~ByteMap() { let_go(block_); }
ByteMap::ByteMap(const ByteMap& other) noexcept
    : block_(other.block_), width_(other.width_), height_(other.height_) {
  hold(block_);
}
ByteMap::ByteMap(ByteMap&& other) noexcept
    : block_(std::exchange(other.block_, nullptr)),
      width_(std::exchange(other.width_, 0)),
      height_(std::exchange(other.height_, 0)) {}
ByteMap& ByteMap::operator=(const ByteMap& other) noexcept { return *this = ByteMap(other); }
ByteMap& ByteMap::operator=(ByteMap&& other) noexcept {
  ByteMap taken(std::move(other));
  std::swap(block_, taken.block_);
  std::swap(width_, taken.width_);
  std::swap(height_, taken.height_);
  return *this;
}
const std::uint8_t* ByteMap::data() const noexcept { return block_ == nullptr ? nullptr : block_->data(); }

bool operator==(const ByteMap& a, const ByteMap& b) noexcept {
  return a.width_ == b.width_ && a.height_ == b.height_ &&
         (a.block_ == b.block_ || std::ranges::equal(a.bytes(), b.bytes()));
}

BytePool::BytePool(std::size_t most)
    : BytePool([]() -> std::unique_ptr<ByteBlock> { return std::make_unique<HostBlock>(); }, most) {}
BytePool::~BytePool() {
  for (ByteBlock* block : blocks_) let_go(block);
}

ByteMap BytePool::take(int width, int height) {
  const std::size_t size = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  for (ByteBlock* block : blocks_) {
    if (block->holders.load(std::memory_order_acquire) != 1) continue;
    block->reserve(size);
    hold(block);
    return {block, width, height};
  }
  auto block = make_();
  block->reserve(size);
  if (blocks_.size() < most_) {
    blocks_.reserve(most_);
    blocks_.push_back(block.get());
    hold(block.get());
  }
  return {block.release(), width, height};
}

std::uint8_t* BytePool::writable(const ByteMap& map) noexcept { return map.block_->data(); }

}  // namespace stpl_rt
