// Arrays in a GPU's memory across the language border, by __dlpack__ and __cuda_array_interface__, both ways.
#pragma once

#include <nanobind/nanobind.h>
#include <stpl_rt/device_map.h>
#include <stpl_rt/segmenter.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "arrays.h"

namespace stpl_rt::bindings {

// What Python sees of a map that stays on the GPU.
class DeviceArray {
 public:
  explicit DeviceArray(DeviceMap map) : map_(std::move(map)) {}

  [[nodiscard]] const DeviceMap& map() const noexcept { return map_; }
  [[nodiscard]] nb::tuple shape() const { return nb::make_tuple(map_.height(), map_.width()); }
  [[nodiscard]] nb::object dlpack(std::optional<std::int64_t> stream, const nb::object& max_version,
                                  const nb::object& dl_device, const nb::object& copy) const;
  [[nodiscard]] nb::dict cuda_array_interface() const;
  [[nodiscard]] NumpyArray<std::uint8_t> to_numpy() const;

 private:
  DeviceMap map_;
};

// An array that was given, and where it lies.
struct GivenArray {
  AnyArray array;
  ArrayPlace place = ArrayPlace::host;
};

// On the GPU, what writes the array is ordered before what is pushed on `segmenter` next. Throws TypeError
// for what is no array.
GivenArray take_array(nb::handle given, std::string_view name, Segmenter& segmenter);

// A frame that was given: an array, or a list or tuple of its planes.
struct GivenFrame {
  std::vector<AnyArray> arrays;
  ArrayPlace place = ArrayPlace::host;  // of all of them
  bool are_planes = false;

  [[nodiscard]] FrameArray read(std::string_view format, std::string_view encoding) const {
    return are_planes ? FrameArray(arrays, format, encoding, place)
                      : FrameArray(arrays[0], format, encoding, place);
  }
};

// As take_array().
GivenFrame take_frame(nb::handle given, Segmenter& segmenter);

}  // namespace stpl_rt::bindings
