#include "arrays.h"

#include <stpl_rt/error.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
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
                std::string_view expected, ArrayPlace place) {
  const std::string wanted = std::string(expected) + " " + type_name(type);
  if (place == ArrayPlace::host && array.device_type() != nb::device::cpu::value) {
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

PixelFormat parse_format(std::string_view format) {
  if (format == "rgb") return PixelFormat::rgb;
  if (format == "bgr") return PixelFormat::bgr;
  throw Error(
      ErrorCode::invalid_argument,
      "format: expected \"rgb\", \"bgr\", \"nv12\" or \"i420\", found \"" + std::string(format) + "\"");
}

std::optional<PixelFormat> yuv_format(std::string_view format) {
  if (format == "nv12") return PixelFormat::nv12;
  if (format == "i420") return PixelFormat::i420;
  return std::nullopt;
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

bool packed_from(const AnyArray& array, std::size_t first) {
  std::int64_t stride = 1;
  for (std::size_t axis = array.ndim(); axis-- > first;) {
    const auto length = static_cast<std::int64_t>(array.shape(axis));
    if (length != 1 && array.stride(axis) != stride) return false;
    stride *= length;
  }
  return true;
}

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
                 std::string_view expected, ArrayPlace place) {
  check_type(array, name, type, expected, place);
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

void FrameArray::refuse_gaps(const AnyArray& array) {
  throw Error(
      ErrorCode::invalid_argument,
      "frame: expected pixels without gaps within a row, as nothing is copied in device memory, found " +
          describe(array) + " with others; make it contiguous first");
}

FrameArray::Rows FrameArray::copy_rows(const AnyArray& array) {
  if (place_ == ArrayPlace::device) refuse_gaps(array);
  std::vector<std::uint8_t>& copy = packed_.emplace_back();
  copy.reserve(array.size());
  pack(array, 0, static_cast<const std::uint8_t*>(array.data()), copy);
  return {.data = copy.data(), .stride = static_cast<std::ptrdiff_t>(array.size() / array.shape(0))};
}

// Rows that overlap (a broadcast row, a sliding window) are copied, too.
FrameArray::Rows FrameArray::read_rows(const AnyArray& array) {
  const auto row = static_cast<std::ptrdiff_t>(array.size() / array.shape(0));
  // A single row's stride means nothing.
  const std::ptrdiff_t stride = array.shape(0) == 1 ? row : static_cast<std::ptrdiff_t>(array.stride(0));
  if (!packed_from(array, 1) || std::abs(stride) < row) return copy_rows(array);
  return {.data = static_cast<const std::uint8_t*>(array.data()), .stride = stride};
}

// OpenCV's and FFmpeg's layout: H rows of luma, then H / 2 rows that hold the chroma.
void FrameArray::read_yuv(const AnyArray& array) {
  constexpr std::string_view expected = "(H + H / 2, W), H and W even";
  check_array(array, "frame", nb::dtype<std::uint8_t>(), {-1, -1}, expected, place_);
  const auto rows = static_cast<std::int64_t>(array.shape(0));
  const auto width = static_cast<std::int64_t>(array.shape(1));
  if (rows % 3 != 0 || width % 2 != 0) {
    check_array(array, "frame", nb::dtype<std::uint8_t>(), {rows / 3 * 3, width / 2 * 2}, expected, place_);
  }
  set_size(width, rows / 3 * 2);
  // A stride of luma and chroma alike, downwards, is NV12's; I420's chroma would have to have half of it.
  const bool as_it_lies = packed_from(array, 0) || (frame_.format == PixelFormat::nv12 &&
                                                    packed_from(array, 1) && array.stride(0) >= width);
  const Rows found = as_it_lies ? read_rows(array) : copy_rows(array);
  frame_.data = found.data;
  frame_.stride = found.stride;
}

void FrameArray::read_pixels(const AnyArray& array, std::string_view format) {
  constexpr std::string_view expected = "(H, W, 3) or (H, W)";
  const bool gray = array.ndim() == 2;  // whatever the format says
  frame_.format = gray ? PixelFormat::gray : parse_format(format);
  if (gray) {
    check_array(array, "frame", nb::dtype<std::uint8_t>(), {-1, -1}, expected, place_);
  } else {
    check_array(array, "frame", nb::dtype<std::uint8_t>(), {-1, -1, 3}, expected, place_);
  }
  set_size(static_cast<std::int64_t>(array.shape(1)), static_cast<std::int64_t>(array.shape(0)));
  const Rows found = read_rows(array);
  frame_.data = found.data;
  frame_.stride = found.stride;
}

void FrameArray::read_planes(const std::vector<AnyArray>& planes) {
  const bool nv12 = frame_.format == PixelFormat::nv12;
  if (planes.size() != (nv12 ? 2 : 3)) {
    throw Error(ErrorCode::invalid_argument, std::string("frame: expected ") +
                                                 (nv12 ? "the two planes of nv12 (luma and chroma)"
                                                       : "the three planes of i420 (Y, Cb, Cr)") +
                                                 ", found " + std::to_string(planes.size()));
  }
  const auto type = nb::dtype<std::uint8_t>();
  check_array(planes[0], "frame[0]", type, {-1, -1}, "(H, W)", place_);
  set_size(static_cast<std::int64_t>(planes[0].shape(1)), static_cast<std::int64_t>(planes[0].shape(0)));
  const std::int64_t height = (frame_.height + 1) / 2;
  const std::int64_t width = (frame_.width + 1) / 2;
  for (std::size_t plane = 1; plane < planes.size(); ++plane) {
    const std::string name = "frame[" + std::to_string(plane) + "]";
    const std::string size = std::to_string(height) + ", " + std::to_string(width);
    if (nv12) {
      check_array(planes[plane], name, type, {height, width, 2}, "(" + size + ", 2)", place_);
    } else {
      check_array(planes[plane], name, type, {height, width}, "(" + size + ")", place_);
    }
  }
  const Rows luma = read_rows(planes[0]);
  Rows cb = read_rows(planes[1]);
  frame_.data = luma.data;
  frame_.stride = luma.stride;
  if (!nv12) {
    Rows cr = read_rows(planes[2]);
    if (cr.stride != cb.stride) {  // the runtime knows one for both
      cb = copy_rows(planes[1]);
      cr = copy_rows(planes[2]);
    }
    frame_.chroma_cr = cr.data;
  }
  frame_.chroma = cb.data;
  frame_.chroma_stride = cb.stride;
}

FrameArray::FrameArray(std::string_view encoding, ArrayPlace place) : place_(place) {
  frame_.encoding = parse_encoding(encoding);
  if (place == ArrayPlace::device) frame_.memory = FrameMemory::device;
}

FrameArray::FrameArray(const AnyArray& array, std::string_view format, std::string_view encoding,
                       ArrayPlace place)
    : FrameArray(encoding, place) {
  arrays_ = {array};
  if (const std::optional<PixelFormat> yuv = yuv_format(format)) {
    frame_.format = *yuv;
    read_yuv(array);
  } else {
    read_pixels(array, format);
  }
}

FrameArray::FrameArray(const std::vector<AnyArray>& planes, std::string_view format,
                       std::string_view encoding, ArrayPlace place)
    : FrameArray(encoding, place) {
  arrays_ = planes;
  const std::optional<PixelFormat> yuv = yuv_format(format);
  if (!yuv) {
    throw Error(ErrorCode::invalid_argument,
                "frame: expected planes in the format \"nv12\" or \"i420\" alone, found " +
                    std::to_string(planes.size()) + " arrays in \"" + std::string(format) + "\"");
  }
  frame_.format = *yuv;
  read_planes(planes);
}

}  // namespace stpl_rt::bindings
