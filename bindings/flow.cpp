// Optical flow: stpl_rt.DisFlow, dis_flow, compose_flow, flow_validity.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "engine/device_name.h"
#include "flow/device_flow_cuda.h"
#include "flow/dis.h"
#include "flow_arrays.h"
#include "gil.h"
#include "module.h"
#include "options.h"

namespace stpl_rt::bindings {
namespace {

using nb::literals::operator""_a;

ImageView<const std::uint8_t> view(const PackedArray<std::uint8_t>& image) {
  return {image.data(), image.size(1), image.size(0), image.size(1)};
}

// Two luma images of one size.
struct LumaPair {
  LumaPair(const AnyArray& current_array, const AnyArray& past_array)
      : current(current_array, "current", {-1, -1}, "(h, w)"),
        past(past_array, "past", {current.size(0), current.size(1)}, "the size of current, (h, w)") {}

  PackedArray<std::uint8_t> current;
  PackedArray<std::uint8_t> past;
};

NumpyArray<float> give_flow(NewArray<float> array, int height, int width) {
  return array.give({static_cast<std::size_t>(height), static_cast<std::size_t>(width), 2});
}

// Keeps the flow's buffers from call to call; Python threads queue up.
class PythonDisFlow {
 public:
  PythonDisFlow(int finest_scale, int patch_size, int patch_stride, int iterations, int threads,
                const std::string& device)
      : options_{.finest_scale = finest_scale,
                 .patch_size = patch_size,
                 .patch_stride = patch_stride,
                 .iterations = iterations},
        flow_(options_),
        threads_(threads) {
    shared_pool(threads);  // refuses a negative number here and not at the first call
    if (const std::optional<int> number = cuda_device(device))
      on_device_ = make_device_flow(options_, *number);
  }

  NumpyArray<float> compute(const AnyArray& current, const AnyArray& past) {
    const LumaPair images(current, past);
    NewArray<float> result = [&] {
      const GilReleased released;
      const std::lock_guard lock(mutex_);
      if (on_device_) {
        on_device_->compute(view(images.current), view(images.past), field_);
      } else {
        flow_.compute(view(images.current), view(images.past), field_, shared_pool(threads_));
      }
      return to_interleaved(field_);
    }();
    return give_flow(std::move(result), images.current.size(0), images.current.size(1));
  }

 private:
  std::mutex mutex_;
  DisOptions options_;
  DisFlow flow_;
  std::unique_ptr<DeviceFlow> on_device_;
  FlowField field_;
  int threads_;
};

NumpyArray<float> compose_arrays(const AnyArray& latest_array, const AnyArray& past_array, int threads) {
  const PackedArray<float> latest = flow_array(latest_array, "latest");
  const PackedArray<float> past = flow_array(past_array, "past", latest.size(0), latest.size(1));
  NewArray<float> result = [&] {
    const GilReleased released;
    FlowField latest_field;
    FlowField past_field;
    FlowField out;
    to_planes(latest, latest_field);
    to_planes(past, past_field);
    compose(latest_field, past_field, out, shared_pool(threads));
    return to_interleaved(out);
  }();
  return give_flow(std::move(result), latest.size(0), latest.size(1));
}

NumpyArray<float> validity_array(const AnyArray& current, const AnyArray& past, const AnyArray& flow_in,
                                 const std::optional<AnyArray>& back_in, int threads) {
  const LumaPair images(current, past);
  const int height = images.current.size(0);
  const int width = images.current.size(1);
  const PackedArray<float> flow = flow_array(flow_in, "flow", height, width);
  std::optional<PackedArray<float>> back;
  if (back_in) back.emplace(flow_array(*back_in, "back", height, width));
  NewArray<float> result(static_cast<std::size_t>(height) * width);
  {
    const GilReleased released;
    FlowField field;
    Image<float> out;
    to_planes(flow, field);
    validity(view(images.current), view(images.past), field, {}, field, out, shared_pool(threads));
    if (back) {
      FlowField back_field;
      to_planes(*back, back_field);
      check_return(field, back_field, out, shared_pool(threads));
    }
    for (int y = 0; y < height; ++y)
      std::copy_n(out.row(y), width, result.data() + std::ptrdiff_t{y} * width);
  }
  return result.give({static_cast<std::size_t>(height), static_cast<std::size_t>(width)});
}

constexpr const char* kDisDoc =
    "Dense optical flow by inverse search (DIS). Keeps its buffers between calls. Streams search with\n"
    "finest_scale 1; the default is that of OpenCV's preset \"ultrafast\".\n\n"
    "finest_scale: pyramid level (0: full size) at which the search ends. patch_size, patch_stride: pixels.\n"
    "iterations: gradient steps a patch. threads: 0: the cores this process may use.\n"
    "device: 'cpu', or 'cuda', 'cuda:N' where this build has kernels for GPUs (Error 'unsupported' else): "
    "the\n"
    "images go there, in a CUDA stream of its own, and the flow comes back.";
constexpr const char* kComputeDoc =
    "Flow of `current` into `past`: uint8 (h, w) luma both; float32 (h, w, 2), (dx, dy) in pixels such that\n"
    "past(x + dx, y + dy) shows what current(x, y) shows.";

}  // namespace

PackedArray<float> flow_array(const AnyArray& array, const char* name, int height, int width) {
  std::string expected = "(h, w, 2)";
  if (height >= 0) expected = "(" + std::to_string(height) + ", " + std::to_string(width) + ", 2)";
  return {array, name, {height, width, 2}, expected};
}

void to_planes(const PackedArray<float>& array, FlowField& field) {
  const int height = array.size(0);
  const int width = array.size(1);
  field.resize(width, height);
  for (int y = 0; y < height; ++y) {
    const float* from = array.data() + std::ptrdiff_t{2} * y * width;
    float* dx = field.dx.row(y);
    float* dy = field.dy.row(y);
    for (int x = 0; x < width; ++x) {
      dx[x] = from[2 * x];
      dy[x] = from[2 * x + 1];
    }
  }
}

NewArray<float> to_interleaved(const FlowField& field) {
  const int height = field.height();
  const int width = field.width();
  NewArray<float> result(std::size_t{2} * height * width);
  for (int y = 0; y < height; ++y) {
    float* to = result.data() + std::ptrdiff_t{2} * y * width;
    const float* dx = field.dx.row(y);
    const float* dy = field.dy.row(y);
    for (int x = 0; x < width; ++x) {
      to[2 * x] = dx[x];
      to[2 * x + 1] = dy[x];
    }
  }
  return result;
}

void register_flow(nb::module_& m) {
  const DisOptions defaults;
  nb::class_<PythonDisFlow>(m, "DisFlow", kDisDoc)
      .def(nb::init<int, int, int, int, int, const std::string&>(), "finest_scale"_a = defaults.finest_scale,
           "patch_size"_a = defaults.patch_size, "patch_stride"_a = defaults.patch_stride,
           "iterations"_a = defaults.iterations, "threads"_a = 0, nb::kw_only(), "device"_a = "cpu")
      .def("__call__", &PythonDisFlow::compute, "current"_a, "past"_a, kComputeDoc);
  m.def(
      "dis_flow",
      [](const AnyArray& current, const AnyArray& past, int threads) {
        const DisOptions options;
        return PythonDisFlow(options.finest_scale, options.patch_size, options.patch_stride,
                             options.iterations, threads, "cpu")
            .compute(current, past);
      },
      "current"_a, "past"_a, nb::kw_only(), "threads"_a = 0, kComputeDoc);
  m.def("compose_flow", &compose_arrays, "latest"_a, "past"_a, nb::kw_only(), "threads"_a = 0,
        "Chains flow t -> t-1 (`latest`) with flow t-1 -> key (`past`) into flow t -> key:\n"
        "latest(x) + past(x + latest(x)), read bilinearly, border-clamped. All float32 (h, w, 2).");
  m.def("flow_validity", &validity_array, "current"_a, "past"_a, "flow"_a, nb::kw_only(),
        "back"_a = nb::none(), "threads"_a = 0,
        "How far `flow` (float32 (h, w, 2), of `current` into `past`, uint8 (h, w) luma) can be trusted:\n"
        "float32 (h, w) in [0, 1] from the photometric residual, the frame's border and the flow's "
        "divergence; and, given the flow `back`, of `past` into `current`, from whether it returns (the\n"
        "forward-backward check).");
}

}  // namespace stpl_rt::bindings
