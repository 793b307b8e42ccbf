// Arrays across the language border: what comes in is checked and borrowed (or packed), what goes out owns
// its memory.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <stpl_rt/frame.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stpl_rt::bindings {

namespace nb = nanobind;

// Any array on the CPU: NumPy, PyTorch or other DLPack; element type and shape are checked by us, so that the
// message can say what was expected and what was found.
using AnyArray = nb::ndarray<nb::ro>;

// Where an array that was given lies, and where it must lie.
enum class ArrayPlace { host, device };

// "(480, 640, 3) uint8".
std::string describe(const AnyArray& array);

// One axis of an expected shape: a length, or any length where negative.
using Shape = std::initializer_list<std::int64_t>;

// Throws TypeError for another element type or device, Error(invalid_argument) for another shape. `expected`
// is the shape in words: "(H, W, 2)".
void check_array(const AnyArray& array, std::string_view name, nb::dlpack::dtype type, Shape shape,
                 std::string_view expected, ArrayPlace place = ArrayPlace::host);

// Of frames and of flow from elsewhere. Larger ones are refused before they are copied: a broadcast array may
// claim any size.
inline constexpr std::int64_t kMaxSide = 16384;

// A row-major float32 or uint8 array: borrowed where it lies so in memory, else a packed copy.
template <class T>
class PackedArray {
 public:
  PackedArray(const AnyArray& array, std::string_view name, Shape shape, std::string_view expected);

  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] int size(std::size_t axis) const { return static_cast<int>(array_.shape(axis)); }

 private:
  AnyArray array_;  // keeps the memory alive
  std::vector<T> packed_;
  const T* data_;
};

// Whether axes [first, ndim) lie row by row without gaps. The stride of an axis of length 1 means nothing.
bool packed_from(const AnyArray& array, std::size_t first);

// A frame, uint8: (H, W, 3) in the format "rgb" or "bgr", (H, W) grey, or (H + H / 2, W) in "nv12" or "i420",
// the planes below each other as OpenCV and FFmpeg have them; or the planes of those two as arrays of their
// own, as decoders have them. Rows may have any stride; only pixels that are not contiguous within a row are
// copied, and I420 in one array that is not contiguous at all. On a device nothing is copied: what would have
// to be is refused.
class FrameArray {
 public:
  // Throws as check_array() does, and Error(invalid_argument) for more than kMaxSide pixels a side.
  FrameArray(const AnyArray& array, std::string_view format, std::string_view encoding = "bt601",
             ArrayPlace place = ArrayPlace::host);
  // nv12: luma (H, W) and chroma (H / 2, W / 2, 2); i420: luma, Cb and Cr (H / 2, W / 2). Halves are rounded
  // up.
  FrameArray(const std::vector<AnyArray>& planes, std::string_view format, std::string_view encoding,
             ArrayPlace place = ArrayPlace::host);

  [[nodiscard]] const Frame& frame() const noexcept { return frame_; }

 private:
  // Of an image's rows: the first, and the bytes from one to the next.
  struct Rows {
    const std::uint8_t* data;
    std::ptrdiff_t stride;
  };

  FrameArray(std::string_view encoding, ArrayPlace place);
  void read_yuv(const AnyArray& array);
  void read_pixels(const AnyArray& array, std::string_view format);
  void read_planes(const std::vector<AnyArray>& planes);
  Rows read_rows(const AnyArray& array);
  Rows copy_rows(const AnyArray& array);
  [[noreturn]] static void refuse_gaps(const AnyArray& array);
  void set_size(std::int64_t width, std::int64_t height);

  ArrayPlace place_;
  std::vector<AnyArray> arrays_;                   // keep the memory alive
  std::vector<std::vector<std::uint8_t>> packed_;  // moving a vector leaves its elements where they are
  Frame frame_;
};

template <class T>
using NumpyArray = nb::ndarray<nb::numpy, T>;

// A NumPy array over `first` that keeps `memory` alive.
template <class T, class Memory>
NumpyArray<T> own_array(T* first, Memory memory, std::initializer_list<std::size_t> shape) {
  auto owned = std::make_unique<Memory>(std::move(memory));
  nb::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<Memory*>(p); });
  static_cast<void>(owned.release());
  return NumpyArray<T>(first, shape, owner);
}

template <class T>
NumpyArray<T> own_array(std::vector<T> values, std::initializer_list<std::size_t> shape) {
  T* first = values.data();  // moving a vector leaves its elements where they are
  return own_array(first, std::move(values), shape);
}

// A row-major result that is written without the GIL and then given to Python.
template <class T>
class NewArray {
 public:
  explicit NewArray(std::size_t count) : data_(std::make_unique_for_overwrite<T[]>(count)) {}

  [[nodiscard]] T* data() const noexcept { return data_.get(); }
  NumpyArray<T> give(std::initializer_list<std::size_t> shape) {
    T* first = data_.get();
    return own_array(first, std::move(data_), shape);
  }

 private:
  std::unique_ptr<T[]> data_;
};

}  // namespace stpl_rt::bindings
