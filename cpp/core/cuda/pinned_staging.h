// Host memory on its way to the device, while the host goes on.
#pragma once

#include <array>
#include <cstddef>

#include "core/cuda/memory.h"
#include "core/cuda/stream.h"

namespace stpl_rt::cuda {

// Two buffers in turn: one is filled while the other is copied.
class PinnedStaging {
 public:
  // Room for `bytes`; waits where the copy before the last is not done.
  std::byte* fill(std::size_t bytes) {
    Half& half = halves_[next_];
    half.copied.wait();
    half.memory.reserve(bytes);
    return half.memory.data();
  }
  // Enqueues the copy of what was filled.
  void send(void* to, std::size_t bytes, StreamHandle stream) {
    Half& half = halves_[next_];
    copy_bytes(to, half.memory.data(), bytes, stream);
    half.copied.record(stream);
    next_ = 1 - next_;
  }

 private:
  struct Half {
    PinnedBuffer<std::byte> memory;
    Event copied;
  };
  std::array<Half, 2> halves_;
  std::size_t next_ = 0;
};

}  // namespace stpl_rt::cuda
