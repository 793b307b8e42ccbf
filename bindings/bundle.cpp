// stpl_rt.Bundle and what a manifest describes.
#include <nanobind/stl/array.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <stpl_rt/bundle.h>
#include <stpl_rt/error.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "arrays.h"
#include "gil.h"
#include "module.h"

namespace stpl_rt::bindings {
namespace {

using nb::literals::operator""_a;

const char* to_text(ColorOrder order) { return order == ColorOrder::rgb ? "rgb" : "bgr"; }
const char* to_text(ResizeMode mode) { return mode == ResizeMode::stretch ? "stretch" : "letterbox"; }
const char* to_text(ResizeFilter filter) { return filter == ResizeFilter::bilinear ? "bilinear" : "area"; }

// The word's place in `words`; throws naming what was expected and found.
int choose(const char* field, const std::string& word, const char* first, const char* second) {
  if (word == first) return 0;
  if (word == second) return 1;
  throw Error(ErrorCode::invalid_argument, std::string(field) + ": expected \"" + first + "\" or \"" +
                                               second + "\", found \"" + word + "\"");
}

void check_input_spec(const InputSpec& spec) {
  if (spec.width < 1 || spec.height < 1) {
    throw Error(ErrorCode::invalid_argument, "InputSpec: expected width and height of at least 1, found " +
                                                 std::to_string(spec.width) + "x" +
                                                 std::to_string(spec.height));
  }
  for (int channel = 0; channel < 3; ++channel) {
    if (!std::isfinite(spec.mean[channel]) || !std::isfinite(spec.std[channel]) || spec.std[channel] <= 0.F) {
      throw Error(ErrorCode::invalid_argument, "InputSpec: expected finite mean and std > 0, found mean " +
                                                   std::to_string(spec.mean[channel]) + ", std " +
                                                   std::to_string(spec.std[channel]) + " in channel " +
                                                   std::to_string(channel));
    }
  }
}

using Table = std::array<std::array<std::uint8_t, 256>, 3>;

Table read_lut(const AnyArray& array) {
  const PackedArray<std::uint8_t> packed(array, "lut", {3, 256}, "(3, 256)");
  Table table;
  for (std::size_t channel = 0; channel < 3; ++channel) {
    std::copy_n(packed.data() + channel * 256, 256, table[channel].begin());
  }
  return table;
}

nb::object lut_array(const InputSpec& spec) {
  if (!spec.lut) return nb::none();
  std::vector<std::uint8_t> values;
  for (const auto& channel : *spec.lut) values.insert(values.end(), channel.begin(), channel.end());
  return nb::cast(own_array(std::move(values), {3, 256}));
}

void init_input_spec(InputSpec* self, int width, int height, const std::array<float, 3>& mean,
                     const std::array<float, 3>& std, const std::optional<AnyArray>& lut,
                     const std::string& color_order, const std::string& resize, const std::string& filter) {
  InputSpec spec;
  spec.width = width;
  spec.height = height;
  spec.mean = mean;
  spec.std = std;
  if (lut) spec.lut = read_lut(*lut);
  spec.color_order = choose("color_order", color_order, "rgb", "bgr") ? ColorOrder::bgr : ColorOrder::rgb;
  spec.resize =
      choose("resize", resize, "stretch", "letterbox") ? ResizeMode::letterbox : ResizeMode::stretch;
  spec.filter = choose("filter", filter, "bilinear", "area") ? ResizeFilter::area : ResizeFilter::bilinear;
  check_input_spec(spec);
  new (self) InputSpec(spec);
}

std::string represent(const InputSpec& spec) {
  return "InputSpec(width=" + std::to_string(spec.width) + ", height=" + std::to_string(spec.height) +
         ", color_order='" + to_text(spec.color_order) + "', resize='" + to_text(spec.resize) +
         "', filter='" + to_text(spec.filter) + "', lut=" + (spec.lut ? "<table>" : "None") + ")";
}

void register_input_spec(nb::module_& m) {
  nb::class_<InputSpec>(
      m, "InputSpec",
      "What a network's input is: planes of (resize(lut[pixel]) - mean) / std in 0..255 units.\n\n"
      "width, height: pixels. mean, std: three floats in color_order, std > 0. lut: uint8 (3, 256),\n"
      "one table for each of R, G, B, or None. color_order: 'rgb' | 'bgr'. resize: 'stretch' |\n"
      "'letterbox'. filter: 'bilinear' | 'area'.")
      .def("__init__", &init_input_spec, "width"_a, "height"_a, nb::kw_only(), "mean"_a, "std"_a,
           "lut"_a = nb::none(), "color_order"_a = "rgb", "resize"_a = "stretch", "filter"_a = "bilinear")
      .def_ro("width", &InputSpec::width)
      .def_ro("height", &InputSpec::height)
      .def_ro("mean", &InputSpec::mean)
      .def_ro("std", &InputSpec::std)
      .def_prop_ro("lut", &lut_array, nb::sig("def lut(self) -> numpy.typing.NDArray[numpy.uint8] | None"))
      .def_prop_ro("color_order", [](const InputSpec& self) { return to_text(self.color_order); })
      .def_prop_ro("resize", [](const InputSpec& self) { return to_text(self.resize); })
      .def_prop_ro("filter", [](const InputSpec& self) { return to_text(self.filter); })
      .def("__repr__", &represent);
}

void register_parts(nb::module_& m) {
  nb::class_<ClassInfo>(m, "ClassInfo", "A class: its name and its RGB colour.")
      .def_ro("name", &ClassInfo::name)
      .def_prop_ro(
          "color",
          [](const ClassInfo& self) { return nb::make_tuple(self.color[0], self.color[1], self.color[2]); },
          nb::sig("def color(self) -> tuple[int, int, int]"))
      .def("__repr__", [](const ClassInfo& self) { return "ClassInfo('" + self.name + "')"; });
  nb::class_<LogitsSpec>(m, "LogitsSpec", "The size of the logits and how they lie on the network's input.")
      .def_ro("width", &LogitsSpec::width)
      .def_ro("height", &LogitsSpec::height)
      .def_ro("align_corners", &LogitsSpec::align_corners);
  nb::class_<TensorSpec>(m, "TensorSpec", "Name, shape and element type of a network's tensor.")
      .def_ro("name", &TensorSpec::name)
      .def_ro("shape", &TensorSpec::shape)
      .def_ro("type", &TensorSpec::type);
  nb::class_<NetworkSpec>(m, "NetworkSpec", "A network of a bundle; its file's hash has been checked.")
      .def_ro("name", &NetworkSpec::name)
      .def_ro("file", &NetworkSpec::file)
      .def_ro("sha256", &NetworkSpec::sha256)
      .def_ro("inputs", &NetworkSpec::inputs)
      .def_ro("outputs", &NetworkSpec::outputs);
}

}  // namespace

void register_bundle(nb::module_& m) {
  register_input_spec(m);
  register_parts(m);
  nb::class_<Bundle>(m, "Bundle", "A validated bundle: an exported network and everything needed to run it.")
      .def_static("open", &Bundle::open, "directory"_a, nb::call_guard<GilReleased>(),
                  "Reads and checks a bundle: every field, path and hash. Raises stpl_rt.Error with code\n"
                  "'invalid_bundle' (or 'io') naming the field, what was expected and what was found.")
      .def_ro("schema_version", &Bundle::schema_version)
      .def_ro("name", &Bundle::name)
      .def_ro("classes", &Bundle::classes)
      .def_ro("ignore_id", &Bundle::ignore_id)
      .def_ro("input", &Bundle::input)
      .def_ro("logits", &Bundle::logits)
      .def_ro("segment", &Bundle::segment)
      .def_ro("fuse", &Bundle::fuse, "Of accel mode; None where the bundle has none.")
      .def_ro("update", &Bundle::update, "Of accel mode; None where the bundle has none.")
      .def_ro("directory", &Bundle::directory)
      .def_prop_ro("default_schedule", [](const Bundle& self) { return self.default_schedule.to_string(); })
      .def_prop_ro(
          "provenance",
          [](const Bundle& self) { return nb::module_::import_("json").attr("loads")(self.provenance_json); },
          nb::sig("def provenance(self) -> dict[str, typing.Any]"));
}

}  // namespace stpl_rt::bindings
