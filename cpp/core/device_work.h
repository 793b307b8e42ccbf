// What a DeviceMap holds: the work that writes it, and its memory. In a build without CUDA there is none.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stpl_rt {

// The work of one frame on a GPU. Used by any thread.
class DeviceWork {
 public:
  virtual ~DeviceWork() = default;
  DeviceWork(const DeviceWork&) = delete;
  DeviceWork& operator=(const DeviceWork&) = delete;

  [[nodiscard]] virtual int device() const noexcept = 0;
  [[nodiscard]] virtual void* stream() const noexcept = 0;
  // See DeviceMap.
  [[nodiscard]] virtual bool is_ready() const = 0;
  virtual void wait() const = 0;
  virtual void precede(void* reader) const = 0;

 protected:
  DeviceWork() = default;
};

// Memory of a GPU. Used by any thread.
class DeviceBytes {
 public:
  virtual ~DeviceBytes() = default;
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  [[nodiscard]] virtual const std::uint8_t* data() const noexcept = 0;
  // The first `size` of them, which are written; returns when they are copied.
  virtual void copy_to(std::uint8_t* host, std::size_t size) const = 0;
  // See DeviceMap.
  virtual void read_on(void* reader) = 0;

 protected:
  DeviceBytes() = default;
};

}  // namespace stpl_rt
