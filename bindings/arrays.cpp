#include "arrays.h"

#include <stpl_rt/error.h>

#include <algorithm>
#include <cstdlib>
#include <type_traits>

namespace stpl_rt::bindings {
namespace {

std::string type_name(nb::dlpack::dtype type) {
  const auto code = static_cast<nb::dlpack::dtype_code>(type.code);
  const std::string bits = std::to_string(type.bits);
  switch (code) {
    case nb::dlpack::dtype_code::Int:
      return "int" + bits;
    case nb::dlpack::dtype_code::UInt:
      return "uint" + bits;
    case nb::dlpack::dtype_code::Float:
      return "float" + bits;
    case nb::dlpack::dtype_code::Bfloat:
      return "bfloat" + bits;
    case nb::dlpack::dtype_code::Complex:
      return "complex" + bits;
    case nb::dlpack::dtype_code::Bool:
      return "bool";
    default:
      return "an element type of code " + std::to_string(type.code);
  }
}

[[noreturn]] void refuse_type(const AnyArray& array, std::string_view name, const std::string& expected) {
  const std::string message = std::string(name) + ": expected " + expected + ", found " + describe(array);
  throw nb::type_error(message.c_str());
}

void check_type(const AnyArray& array, std::string_view name, nb::dlpack::dtype type,
                std::string_view expected) {
  const std::string wanted = std::string(expected) + " " + type_name(type);
  if (array.device_type() != nb::device::cpu::value) {
    refuse_type(array, name, wanted + " in host memory (use .cpu())");
  }
  if (array.dtype() != type) refuse_type(array, name, wanted);
}

[[noreturn]] void refuse_shape(const AnyArray& array, std::string_view name, std::string_view expected,
                               nb::dlpack::dtype type) {
  throw Error(ErrorCode::invalid_argument, std::string(name) + ": expected " + std::string(expected) + " " +
                                               type_name(type) + ", found " + describe(array));
}

// Copies rows of the last axis; DLPack strides count elements and may be negative.
template <class T>
void pack(const AnyArray& array, std::size_t axis, const T* from, std::vector<T>& to) {
  const auto stride = array.stride(axis);
  const auto length = static_cast<std::int64_t>(array.shape(axis));
  for (std::int64_t i = 0; i < length; ++i) {
    if (axis + 1 == array.ndim()) {
      to.push_back(from[i * stride]);
    } else {
      pack(array, axis + 1, from + i * stride, to);
    }
  }
}

// Whether axes [first, ndim) lie row by row without gaps. The stride of an axis of length 1 means nothing.
bool packed_from(const AnyArray& array, std::size_t first) {
  std::int64_t stride = 1;
  for (std::size_t axis = array.ndim(); axis-- > first;) {
    const auto length = static_cast<std::int64_t>(array.shape(axis));
    if (length != 1 && array.stride(axis) != stride) return false;
    stride *= length;
  }
  return true;
}

PixelFormat parse_format(std::string_view format) {
  if (format == "rgb") return PixelFormat::rgb;
  if (format == "bgr") return PixelFormat::bgr;
  throw Error(
      ErrorCode::invalid_argument,
      "format: expected \"rgb\", \"bgr\", \"nv12\" or \"i420\", found \"" + std::string(format) + "\"");
}

YuvEncoding parse_encoding(std::string_view encoding) {
  if (encoding == "bt601") return YuvEncoding::bt601;
  if (encoding == "bt709") return YuvEncoding::bt709;
  if (encoding == "bt601_full") return YuvEncoding::bt601_full;
  if (encoding == "bt709_full") return YuvEncoding::bt709_full;
  throw Error(ErrorCode::invalid_argument,
              "encoding: expected \"bt601\", \"bt709\", \"bt601_full\" or \"bt709_full\", found \"" +
                  std::string(encoding) + "\"");
}

}  // namespace

std::string describe(const AnyArray& array) {
  std::string shape;
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
    shape += (axis ? ", " : "") + std::to_string(array.shape(axis));
  }
  if (array.ndim() == 1) shape += ",";
  const std::string where = array.device_type() == nb::device::cpu::value ? "" : " in device memory";
  return "(" + shape + ") " + type_name(array.dtype()) + where;
}

void check_array(const AnyArray& array, std::string_view name, nb::dlpack::dtype type, Shape shape,
                 std::string_view expected) {
  check_type(array, name, type, expected);
  bool fits = array.ndim() == shape.size();
  std::size_t axis = 0;
  for (const std::int64_t length : shape) {
    if (!fits) break;
    const auto found = static_cast<std::int64_t>(array.shape(axis++));
    // Sizes cross as int; nothing of ours takes an empty array.
    fits = found >= 1 && found <= 0x7fffffff && (length < 0 || found == length);
  }
  if (!fits) refuse_shape(array, name, expected, type);
}

template <class T>
PackedArray<T>::PackedArray(const AnyArray& array, std::string_view name, Shape shape,
                            std::string_view expected)
    : array_(array) {
  check_array(array, name, nb::dtype<T>(), shape, expected);
  data_ = static_cast<const T*>(array.data());
  if (!packed_from(array, 0)) {
    packed_.reserve(array.size());
    pack(array, 0, data_, packed_);
    data_ = packed_.data();
  }
}

template class PackedArray<float>;
template class PackedArray<std::uint8_t>;

void FrameArray::set_size(std::int64_t width, std::int64_t height) {
  if (width > kMaxSide || height > kMaxSide) {
    const std::string limit = std::to_string(kMaxSide);
    throw Error(ErrorCode::invalid_argument, "frame: expected a size of at most " + limit + "x" + limit +
                                                 ", found " + std::to_string(width) + "x" +
                                                 std::to_string(height));
  }
  frame_.width = static_cast<int>(width);
  frame_.height = static_cast<int>(height);
}

// OpenCV's and FFmpeg's layout: H rows of luma, then H / 2 rows that hold the chroma.
void FrameArray::read_yuv(const AnyArray& array) {
  constexpr std::string_view expected = "(H + H / 2, W), H and W even";
  check_array(array, "frame", nb::dtype<std::uint8_t>(), {-1, -1}, expected);
  const auto rows = static_cast<std::int64_t>(array.shape(0));
  const auto width = static_cast<std::int64_t>(array.shape(1));
  if (rows % 3 != 0 || width % 2 != 0) {
    check_array(array, "frame", nb::dtype<std::uint8_t>(), {rows / 3 * 3, width / 2 * 2}, expected);
  }
  set_size(width, rows / 3 * 2);
  const auto* first = static_cast<const std::uint8_t*>(array.data());
  if (!packed_from(array, 0)) {
    packed_.reserve(array.size());
    pack(array, 0, first, packed_);
    first = packed_.data();
  }
  frame_.data = first;
}

FrameArray::FrameArray(const AnyArray& array, std::string_view format, std::string_view encoding)
    : array_(array) {
  constexpr std::string_view expected = "(H, W, 3) or (H, W)";
  frame_.encoding = parse_encoding(encoding);
  if (format == "nv12" || format == "i420") {
    frame_.format = format == "nv12" ? PixelFormat::nv12 : PixelFormat::i420;
    read_yuv(array);
    return;
  }
  const bool gray = array.ndim() == 2;  // whatever the format says
  frame_.format = gray ? PixelFormat::gray : parse_format(format);
  if (gray) {
    check_array(array, "frame", nb::dtype<std::uint8_t>(), {-1, -1}, expected);
  } else {
    check_array(array, "frame", nb::dtype<std::uint8_t>(), {-1, -1, 3}, expected);
  }
  set_size(static_cast<std::int64_t>(array.shape(1)), static_cast<std::int64_t>(array.shape(0)));
  frame_.data = static_cast<const std::uint8_t*>(array.data());
  if (packed_from(array, 1)) {
    // A single row's stride means nothing; rows that overlap (a broadcast row, a sliding window) are copied.
    frame_.stride = frame_.height == 1 ? 0 : static_cast<std::ptrdiff_t>(array.stride(0));
    const std::ptrdiff_t row = std::ptrdiff_t{frame_.width} * (gray ? 1 : 3);
    if (frame_.height == 1 || std::abs(frame_.stride) >= row) return;
  }
  packed_.reserve(array.size());
  pack(array, 0, frame_.data, packed_);
  frame_.data = packed_.data();
  frame_.stride = 0;
}

}  // namespace stpl_rt::bindings
