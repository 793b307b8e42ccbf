// Memory of the GPU, host memory that it can copy while the host goes on, and copies.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "core/cuda/handles.h"
#include "core/image.h"

namespace stpl_rt::cuda {

enum class MemoryKind { device, pinned };

// Throws Error(engine) with CUDA's text where there is not that much.
void* allocate(MemoryKind kind, std::size_t bytes);
// Waits for the device.
void deallocate(MemoryKind kind, void* memory) noexcept;

// Owns elements, not initialised; only ever grows, and its content is lost when it does.
template <class T, MemoryKind kKind>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  ~Buffer() { deallocate(kKind, data_); }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void reserve(std::size_t count) {
    if (count <= capacity_) return;
    deallocate(kKind, std::exchange(data_, nullptr));
    capacity_ = 0;
    data_ = static_cast<T*>(allocate(kKind, count * sizeof(T)));
    capacity_ = count;
  }
  [[nodiscard]] T* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  T* data_ = nullptr;
  std::size_t capacity_ = 0;
};

// Addresses of the device: the host may not read them.
template <class T>
using DeviceBuffer = Buffer<T, MemoryKind::device>;
// Addresses of the host that the device can read and write too.
template <class T>
using PinnedBuffer = Buffer<T, MemoryKind::pinned>;

// One channel of the device's. Rows start on 64 bytes, as Image's do.
template <class T>
class DeviceImage {
 public:
  void resize(int width, int height) {
    constexpr std::ptrdiff_t kLine = 64 / sizeof(T);
    const std::ptrdiff_t stride = (width + kLine - 1) / kLine * kLine;
    buffer_.reserve(static_cast<std::size_t>(stride) * static_cast<std::size_t>(height));
    view_ = {buffer_.data(), width, height, stride};
  }
  [[nodiscard]] ImageView<T> view() const noexcept { return view_; }
  [[nodiscard]] ImageView<const T> cview() const noexcept { return view_; }

 private:
  DeviceBuffer<T> buffer_;
  ImageView<T> view_;
};

// Enqueued, not waited for; host memory that is not pinned is read or written before the call returns or is
// staged by CUDA. Directions follow from the addresses.
void copy_bytes(void* to, const void* from, std::size_t bytes, StreamHandle stream);
void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
               std::size_t row_bytes, int rows, StreamHandle stream);
void set_bytes(void* data, int value, std::size_t bytes, StreamHandle stream);

template <class T>
void copy(T* to, const T* from, std::size_t count, StreamHandle stream) {
  copy_bytes(to, from, count * sizeof(T), stream);
}
template <class T>
void copy(ImageView<T> to, ImageView<const std::type_identity_t<T>> from, StreamHandle stream) {
  copy_rows(to.data, to.stride * sizeof(T), from.data, from.stride * sizeof(T), from.width * sizeof(T),
            from.height, stream);
}
template <class T>
void fill_zero(ImageView<T> image, StreamHandle stream) {
  set_bytes(image.data, 0, static_cast<std::size_t>(image.stride) * image.height * sizeof(T), stream);
}

}  // namespace stpl_rt::cuda
