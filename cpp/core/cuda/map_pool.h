// Memory of results on the GPU, used again when nobody holds it any more. BytePool's counterpart.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/byte_pool.h"
#include "core/cuda/device.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "core/device_work.h"

namespace stpl_rt::cuda {

class PooledBytes final : public DeviceBytes {
 public:
  // On the calling thread's device, which is `device`.
  explicit PooledBytes(int device) : device_(device) {}
  // Once the readers that were marked are done.
  ~PooledBytes() override {
    try {
      const DeviceScope scope(device_);
      for (std::size_t i = 0; i < marks_; ++i) read_[i].wait();
    } catch (...) {  // NOLINT(bugprone-empty-catch): a device that failed reads nothing any more
    }
  }
  PooledBytes(const PooledBytes&) = delete;
  PooledBytes& operator=(const PooledBytes&) = delete;
  [[nodiscard]] const std::uint8_t* data() const noexcept override { return memory_.data(); }
  void copy_to(std::uint8_t* host, std::size_t size) const override {
    const DeviceScope scope(device_);
    const Stream stream;
    copy_bytes(host, memory_.data(), size, stream.handle());
    stream.wait();
  }
  void read_on(void* reader) override {
    const std::lock_guard lock(mutex_);
    auto* stream = static_cast<StreamHandle>(reader);
    // Its name means another stream to the thread that lets go; the legacy default stream waits for all of
    // them.
    if (stream == per_thread_stream()) stream = nullptr;
    if (std::ranges::find(readers_, stream) == readers_.end()) readers_.push_back(stream);
  }

 private:
  friend class MapPool;
  // The last holder lets go: marks how far its readers have come. Later their streams may be gone.
  void let_go() noexcept {
    const std::lock_guard lock(mutex_);
    for (const StreamHandle reader : readers_) mark(reader);
    readers_.clear();
  }
  // How far one has come stays unknown where it is of another GPU: the memory is freed then, which waits for
  // more than a pool can.
  void mark(StreamHandle reader) noexcept {
    try {
      const DeviceScope scope(device_);
      if (marks_ == read_.size()) read_.emplace_back();
      read_[marks_].record(reader);
      ++marks_;
    } catch (...) {
      is_spent_ = true;
    }
  }
  // Nobody else holds it: what is enqueued on `writer` from now on comes after what its readers have
  // enqueued.
  void begin(StreamHandle writer, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < marks_; ++i) Stream::wait_for(writer, read_[i]);
    marks_ = 0;
    memory_.reserve(bytes);
  }

  const int device_;
  DeviceBuffer<std::uint8_t> memory_;
  std::mutex mutex_;
  std::vector<StreamHandle> readers_;  // their work may be reading
  std::vector<Event> read_;            // of readers that were let go, the first `marks_` of them
  std::size_t marks_ = 0;
  bool is_spent_ = false;  // nobody knows when it has been read
};

// One thread takes; any thread may let go.
class MapPool {
 public:
  // Maps beyond `most` that are held at a time are freed, not pooled.
  MapPool(int device, std::size_t most) : device_(device), most_(most) {}

  // Memory that no map holds, allocated where there is none, for work on `writer`; its content is whatever it
  // was.
  std::shared_ptr<PooledBytes> take(std::size_t bytes, StreamHandle writer) {
    std::erase_if(blocks_, [](const auto& block) { return is_free(block) && block->is_spent_; });
    for (const auto& block : blocks_) {
      if (!is_free(block)) continue;
      block->begin(writer, bytes);
      return lent(block);
    }
    auto block = std::make_shared<PooledBytes>(device_);
    block->begin(writer, bytes);
    if (blocks_.size() < most_) blocks_.push_back(block);
    return lent(block);
  }
  // For its maker, before anybody else has it.
  static std::uint8_t* writable(const PooledBytes& bytes) noexcept { return bytes.memory_.data(); }

 private:
  static bool is_free(const std::shared_ptr<PooledBytes>& block) noexcept {
    if (block.use_count() != 1) return false;
    std::atomic_thread_fence(std::memory_order_acquire);  // after all that its last holder did
    return true;
  }
  // For its holders, the last of whom lets it go.
  static std::shared_ptr<PooledBytes> lent(const std::shared_ptr<PooledBytes>& block) {
    return {block.get(), [block](PooledBytes* bytes) noexcept { bytes->let_go(); }};
  }

  const int device_;
  const std::size_t most_;
  std::vector<std::shared_ptr<PooledBytes>> blocks_;
};

// Of the host, for BytePool: what the GPU copies to while the host goes on.
struct PinnedBlock final : ByteBlock {
  static std::unique_ptr<ByteBlock> make() { return std::make_unique<PinnedBlock>(); }
  void reserve(std::size_t bytes) override { memory.reserve(bytes); }
  [[nodiscard]] std::uint8_t* data() const noexcept override { return memory.data(); }

  PinnedBuffer<std::uint8_t> memory;
};

}  // namespace stpl_rt::cuda
