// One byte for each pixel of a frame, in a GPU's memory that copies share and that goes back to where it came
// from.
#pragma once

#include <stpl_rt/export.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace stpl_rt {

class DeviceBytes;
class DeviceWork;

// Row by row without padding. push() returns it before the GPU has written it: wait() on the host, or let the
// stream that reads it wait with precede(). Copies share the memory and may be kept by any thread, also when
// the Segmenter is gone; with the last copy it goes back to the Segmenter for a later result. Where streams
// other than the Segmenter's read it, say so with read_on(), unless the host waits for them anyway.
class STPL_RT_API DeviceMap {
 public:
  DeviceMap() noexcept = default;
  DeviceMap(std::shared_ptr<const DeviceWork> work, std::shared_ptr<DeviceBytes> bytes, int width,
            int height) noexcept;

  [[nodiscard]] int width() const noexcept { return width_; }
  [[nodiscard]] int height() const noexcept { return height_; }
  [[nodiscard]] bool empty() const noexcept { return bytes_ == nullptr; }
  // width() * height(), 0 where empty.
  [[nodiscard]] std::size_t size() const noexcept {
    return static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_);
  }
  // An address of the GPU, which the host may not read; null where empty.
  [[nodiscard]] const std::uint8_t* data() const noexcept;

  // Of an empty map each of these throws Error(invalid_argument).
  [[nodiscard]] int device() const;    // N of "cuda:N"
  [[nodiscard]] void* stream() const;  // cudaStream_t: the Segmenter's, on which it is written
  [[nodiscard]] bool is_ready() const;
  // Waits on the host until it is written. Throws Error(engine) where the GPU failed, or the network's logits
  // were not finite.
  void wait() const;
  // Waits, and copies it to size() bytes of the host. Throws as wait() does.
  void copy_to(std::uint8_t* host) const;
  // What is enqueued on the cudaStream_t `reader` from now on comes after the map is written.
  void precede(void* reader) const;
  // The memory is not written again before what is on the cudaStream_t `reader` when the last copy goes;
  // until then the stream must be there.
  void read_on(void* reader) const;

 private:
  std::shared_ptr<const DeviceWork> work_;
  std::shared_ptr<DeviceBytes> bytes_;
  int width_ = 0;
  int height_ = 0;
};

}  // namespace stpl_rt
