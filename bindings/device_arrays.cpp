#include "device_arrays.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <stpl_rt/error.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gil.h"
#include "module.h"
#include "segmenter/video_stream.h"

namespace stpl_rt::bindings {
namespace {

using nb::literals::operator""_a;

// Streams as both protocols number them: 1 is CUDA's default stream, 2 that of each thread, all else an
// address.
void* stream_of(std::int64_t number) {
  if (number < 1) {
    throw Error(
        ErrorCode::invalid_argument,
        "stream: expected None, -1, or the number of a CUDA stream from 1, found " + std::to_string(number));
  }
  return number == 1 ? nullptr : reinterpret_cast<void*>(number);  // NOLINT(performance-no-int-to-ptr)
}

// The number of the GPU; what __cuda_array_interface__ does not say. None: on the host.
constexpr int kUnsaid = -1;
std::optional<int> gpu_of(nb::handle given) {
  if (!nb::hasattr(given, "__dlpack_device__")) {
    return nb::hasattr(given, "__cuda_array_interface__") ? std::optional(kUnsaid) : std::nullopt;
  }
  const nb::object where = given.attr("__dlpack_device__")();
  if (nb::cast<int>(where[0]) != nb::device::cuda::value) return std::nullopt;
  return nb::cast<int>(where[1]);
}

[[noreturn]] void refuse(std::string_view name, nb::handle given) {
  const std::string message =
      std::string(name) + ": expected an array (NumPy, PyTorch, DLPack or __cuda_array_interface__), found " +
      nb::cast<std::string>(given.type().attr("__name__"));
  throw nb::type_error(message.c_str());
}

AnyArray take(nb::handle given, std::string_view name) {
  AnyArray array;
  if (!nb::try_cast(given, array)) refuse(name, given);
  return array;
}

// Version 3 of the protocol; only the element types that are taken anywhere.
AnyArray read_interface(nb::handle given, std::string_view name, Segmenter& segmenter) {
  const nb::dict fields = nb::cast<nb::dict>(given.attr("__cuda_array_interface__"));
  const auto type_text = nb::cast<std::string>(fields["typestr"]);
  nb::dlpack::dtype type;
  if (type_text == "|u1") {
    type = nb::dtype<std::uint8_t>();
  } else if (type_text == "<f4") {
    type = nb::dtype<float>();
  } else {
    const std::string message =
        std::string(name) + ": expected uint8 or float32, found \"" + type_text + "\"";
    throw nb::type_error(message.c_str());
  }
  const std::int64_t item = type.bits / 8;
  std::vector<std::size_t> shape;
  for (nb::handle length : fields["shape"]) shape.push_back(nb::cast<std::size_t>(length));
  std::vector<std::int64_t> strides;
  if (fields.contains("strides") && !fields["strides"].is_none()) {
    for (nb::handle bytes : fields["strides"]) strides.push_back(nb::cast<std::int64_t>(bytes) / item);
  }
  if (!strides.empty() && strides.size() != shape.size()) refuse(name, given);
  auto* const data = reinterpret_cast<void*>(  // NOLINT(performance-no-int-to-ptr)
      nb::cast<std::uintptr_t>(fields["data"][0]));
  if (segmenter.cuda_stream() != nullptr) {
    segmenter.check_device(data, std::string(name));
    // Who names no stream works on the default one, or has waited.
    const nb::object stream = fields.contains("stream") ? nb::borrow(fields["stream"]) : nb::none();
    segmenter.order_after(stream.is_none() ? nullptr : stream_of(nb::cast<std::int64_t>(stream)));
  }
  return AnyArray(data, shape.size(), shape.data(), given, strides.empty() ? nullptr : strides.data(), type,
                  nb::device::cuda::value, 0);
}

// Labels of a Segmenter, this one or another: they are held until the GPU has read them, so no stream is
// marked, which might be gone before they are.
AnyArray read_labels(const DeviceMap& map, nb::handle given, std::string_view name, Segmenter& segmenter) {
  if (map.device() != segmenter.cuda_device()) {
    refuse_device(std::string(name), segmenter.cuda_device(), map.device());
  }
  map.precede(segmenter.cuda_stream());
  const std::size_t shape[] = {static_cast<std::size_t>(map.height()), static_cast<std::size_t>(map.width())};
  return AnyArray(map.data(), 2, shape, given, nullptr, nb::dtype<std::uint8_t>(), nb::device::cuda::value,
                  map.device());
}

}  // namespace

GivenArray take_array(nb::handle given, std::string_view name, Segmenter& segmenter) {
  const std::optional<int> gpu = gpu_of(given);
  if (!gpu) return {.array = take(given, name)};
  void* const ours = segmenter.cuda_stream();
  if (ours == nullptr) {  // the CPU's stream says what it expected
    return {.array = nb::hasattr(given, "__dlpack__") ? take(given, name)
                                                      : read_interface(given, name, segmenter)};
  }
  if (nb::isinstance<DeviceArray>(given)) {
    return {.array = read_labels(nb::cast<const DeviceArray&>(given).map(), given, name, segmenter),
            .place = ArrayPlace::device};
  }
  if (!nb::hasattr(given, "__dlpack__")) {
    return {.array = read_interface(given, name, segmenter), .place = ArrayPlace::device};
  }
  if (*gpu != kUnsaid && *gpu != segmenter.cuda_device()) {
    refuse_device(std::string(name), segmenter.cuda_device(), *gpu);
  }
  // Its owner orders our stream behind its own, which PyTorch does only where the array's GPU is in use.
  const std::shared_ptr<void> in_use = segmenter.use_device();
  const nb::object capsule = given.attr("__dlpack__")("stream"_a = reinterpret_cast<std::intptr_t>(ours));
  return {.array = take(capsule, name), .place = ArrayPlace::device};
}

GivenFrame take_frame(nb::handle given, Segmenter& segmenter) {
  if (!nb::isinstance<nb::list>(given) && !nb::isinstance<nb::tuple>(given)) {
    const GivenArray taken = take_array(given, "frame", segmenter);
    return {.arrays = {taken.array}, .place = taken.place};
  }
  GivenFrame frame{.arrays = {}, .are_planes = true};
  for (nb::handle plane : given) {
    const std::string name = "frame[" + std::to_string(frame.arrays.size()) + "]";
    const GivenArray taken = take_array(plane, name, segmenter);
    if (!frame.arrays.empty() && taken.place != frame.place) {
      throw Error(
          ErrorCode::invalid_argument,
          name + ": expected all planes in the same memory, found some on the host and some on the GPU");
    }
    frame.place = taken.place;
    frame.arrays.push_back(taken.array);
  }
  return frame;
}

nb::object DeviceArray::dlpack(std::optional<std::int64_t> stream, const nb::object& max_version,
                               const nb::object& dl_device, const nb::object& copy) const {
  constexpr std::int64_t kNoOrder = -1;
  if (stream != kNoOrder) {
    void* const reader = stream_of(stream.value_or(1));
    map_.precede(reader);
    map_.read_on(reader);
  }
  auto owned = std::make_unique<DeviceMap>(map_);
  auto* const data = const_cast<std::uint8_t*>(map_.data());
  nb::capsule owner(owned.get(), [](void* map) noexcept { delete static_cast<DeviceMap*>(map); });
  static_cast<void>(owned.release());
  const nb::ndarray<nb::array_api, std::uint8_t> array(
      data, {static_cast<std::size_t>(map_.height()), static_cast<std::size_t>(map_.width())}, owner, {},
      nb::dtype<std::uint8_t>(), nb::device::cuda::value, map_.device());
  return nb::cast(array).attr("__dlpack__")("max_version"_a = max_version, "dl_device"_a = dl_device,
                                            "copy"_a = copy);
}

nb::dict DeviceArray::cuda_array_interface() const {
  // Who reads it does not say on which stream: the default one, unless it is told. Most libraries do not look
  // at "stream" (PyTorch, PyCUDA), and ours waits for no other by itself.
  map_.precede(nullptr);
  map_.read_on(nullptr);
  auto* const ours = map_.stream();
  nb::dict fields;
  fields["version"] = 3;
  fields["shape"] = shape();
  fields["typestr"] = "|u1";
  fields["data"] = nb::make_tuple(reinterpret_cast<std::uintptr_t>(map_.data()), false);
  fields["strides"] = nb::none();
  fields["stream"] = reinterpret_cast<std::uintptr_t>(ours);
  return fields;
}

NumpyArray<std::uint8_t> DeviceArray::to_numpy() const {
  NewArray<std::uint8_t> values(map_.size());
  {
    const GilReleased released;
    map_.copy_to(values.data());
  }
  return values.give({static_cast<std::size_t>(map_.height()), static_cast<std::size_t>(map_.width())});
}

void register_device_arrays(nb::module_& m) {
  nb::class_<DeviceArray>(
      m, "DeviceArray",
      "uint8 (H, W) in a GPU's memory, which the GPU may not have written yet. torch.from_dlpack(array) and\n"
      "cupy.from_dlpack(array) take it without a copy, and the stream in use there waits for it on the GPU;\n"
      "for what reads __cuda_array_interface__ (PyCUDA, Numba, torch.as_tensor) the default stream waits, "
      "and "
      "who\n"
      "reads on another that does not heed the interface's \"stream\" calls wait() first, and holds the "
      "array "
      "until\n"
      "it is done. numpy() and numpy.asarray() copy it to the host. The memory is used again when nobody "
      "holds "
      "it;\n"
      "a stream that read it outlives the array.")
      .def_prop_ro("shape", &DeviceArray::shape, nb::sig("def shape(self) -> tuple[int, int]"))
      .def_prop_ro(
          "dtype", [](const DeviceArray&) { return nb::module_::import_("numpy").attr("dtype")("uint8"); },
          nb::sig("def dtype(self) -> numpy.dtype[numpy.uint8]"))
      .def_prop_ro("device",
                   [](const DeviceArray& self) { return "cuda:" + std::to_string(self.map().device()); })
      .def_prop_ro(
          "is_ready", [](const DeviceArray& self) { return self.map().is_ready(); },
          "Whether the GPU has written it.")
      .def(
          "wait",
          [](const DeviceArray& self) {
            const GilReleased released;
            self.map().wait();
          },
          "Waits until the GPU has written it. Raises stpl_rt.Error where the GPU failed, or the network's "
          "logits\n"
          "were not finite.")
      .def("numpy", &DeviceArray::to_numpy, "Waits, and copies it to the host: uint8 (H, W).")
      .def(
          "__array__",
          [](const DeviceArray& self, const nb::object& dtype, const nb::object& /*copy*/) {
            const nb::object array = nb::cast(self.to_numpy());
            return dtype.is_none() ? array : nb::object(array.attr("astype")(dtype));
          },
          "dtype"_a = nb::none(), "copy"_a = nb::none())
      .def("__len__", [](const DeviceArray& self) { return self.map().height(); })
      .def("__dlpack__", &DeviceArray::dlpack, nb::kw_only(), "stream"_a = nb::none(),
           "max_version"_a = nb::none(), "dl_device"_a = nb::none(), "copy"_a = nb::none())
      .def(
          "__dlpack_device__",
          [](const DeviceArray& self) {
            return nb::make_tuple(nb::device::cuda::value, self.map().device());
          },
          nb::sig("def __dlpack_device__(self) -> tuple[int, int]"))
      .def_prop_ro("__cuda_array_interface__", &DeviceArray::cuda_array_interface,
                   nb::sig("def __cuda_array_interface__(self) -> dict[str, typing.Any]"));
}

}  // namespace stpl_rt::bindings
