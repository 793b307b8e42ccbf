// Two-dimensional buffers: a borrowed view and an owner whose rows start on cache lines.
#pragma once

#include <stpl_rt/error.h>

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "core/poison.h"
#include "core/simd.h"

namespace stpl_rt {

// No frame, flow or network's image is longer; what says it is, is taken for a fault.
inline constexpr int kMaxSide = 16384;

struct Size {
  int width = 0;
  int height = 0;
  friend bool operator==(const Size&, const Size&) = default;
};

// Borrowed pixels of one channel. An empty view (data == nullptr) stands for "not given".
template <class T>
struct ImageView {
  T* data = nullptr;
  int width = 0;
  int height = 0;
  std::ptrdiff_t stride = 0;  // elements from one row to the next

  [[nodiscard]] STPL_RT_HOST_DEVICE T* row(int y) const noexcept { return data + y * stride; }
  [[nodiscard]] STPL_RT_HOST_DEVICE Size size() const noexcept { return {width, height}; }
  [[nodiscard]] STPL_RT_HOST_DEVICE bool empty() const noexcept { return data == nullptr; }

  operator ImageView<const T>() const noexcept  // NOLINT: a view of pixels is a view of constant pixels
    requires(!std::is_const_v<T>)
  {
    return {data, width, height, stride};
  }
};

// Memory that starts on a 64-byte line and only ever grows; its content is lost when it does.
template <class T>
class AlignedBuffer {
  static_assert(std::is_trivial_v<T>);

 public:
  static constexpr std::size_t kAlignment = 64;

  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::move(other.data_)), capacity_(std::exchange(other.capacity_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  // Room for `count` elements, and until the next call no more are to be used.
  void reserve(std::size_t count) {
    if (count <= capacity_) {
      allow_first(data_.get(), count, capacity_);
      return;
    }
    data_.reset();
    capacity_ = 0;
    data_.reset(static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{kAlignment})));
    capacity_ = count;
  }
  [[nodiscard]] T* data() const noexcept { return data_.get(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  struct Free {
    void operator()(T* memory) const noexcept { ::operator delete(memory, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t capacity_ = 0;
};

// Owns width * height pixels of one channel, not initialised. resize() allocates only when it grows.
template <class T>
class Image {
 public:
  Image() = default;
  Image(int width, int height) { resize(width, height); }

  void resize(int width, int height) {
    if (width < 0 || height < 0) throw Error(ErrorCode::internal, "Image: negative size");
    constexpr std::ptrdiff_t kLine = AlignedBuffer<T>::kAlignment / sizeof(T);
    const std::ptrdiff_t stride = (width + kLine - 1) / kLine * kLine;
    buffer_.reserve(static_cast<std::size_t>(stride) * static_cast<std::size_t>(height));
    width_ = width;
    height_ = height;
    stride_ = stride;
  }
  void fill(T value) noexcept {
    for (std::ptrdiff_t i = 0; i < stride_ * height_; ++i) buffer_.data()[i] = value;
  }

  [[nodiscard]] int width() const noexcept { return width_; }
  [[nodiscard]] int height() const noexcept { return height_; }
  [[nodiscard]] Size size() const noexcept { return {width_, height_}; }
  [[nodiscard]] std::ptrdiff_t stride() const noexcept { return stride_; }
  [[nodiscard]] T* row(int y) noexcept { return buffer_.data() + y * stride_; }
  [[nodiscard]] const T* row(int y) const noexcept { return buffer_.data() + y * stride_; }
  [[nodiscard]] ImageView<T> view() noexcept { return {buffer_.data(), width_, height_, stride_}; }
  [[nodiscard]] ImageView<const T> cview() const noexcept {
    return {buffer_.data(), width_, height_, stride_};
  }

 private:
  AlignedBuffer<T> buffer_;
  int width_ = 0;
  int height_ = 0;
  std::ptrdiff_t stride_ = 0;
};

}  // namespace stpl_rt
