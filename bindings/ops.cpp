// The kernels: stpl_rt.preprocess, luma, warp, sample_argmax.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <stpl_rt/error.h>

#include <optional>
#include <string>
#include <utility>

#include "flow_arrays.h"
#include "gil.h"
#include "module.h"
#include "ops/preprocess.h"
#include "ops/sample_argmax.h"
#include "ops/warp.h"
#include "options.h"

namespace stpl_rt::bindings {
namespace {

using nb::literals::operator""_a;
using SizePair = std::pair<int, int>;  // height, width

std::size_t length(int n) { return static_cast<std::size_t>(n); }

Size read_size(const char* name, const SizePair& size) {
  constexpr int kMax = 1 << 15;
  if (size.first < 1 || size.second < 1 || size.first > kMax || size.second > kMax) {
    throw Error(ErrorCode::invalid_argument,
                std::string(name) + ": expected (height, width) from 1 to " + std::to_string(kMax) +
                    ", found (" + std::to_string(size.first) + ", " + std::to_string(size.second) + ")");
  }
  return {.width = size.second, .height = size.first};
}

NumpyArray<float> preprocess_array(const AnyArray& array, const InputSpec& spec, const std::string& format,
                                   const std::string& encoding, int threads) {
  const FrameArray frame(array, format, encoding);
  NewArray<float> out(std::size_t{3} * spec.height * spec.width);
  {
    const GilReleased released;
    preprocess(frame.frame(), spec, out.data(), shared_pool(threads));
  }
  return out.give({3, length(spec.height), length(spec.width)});
}

NumpyArray<std::uint8_t> luma_array(const AnyArray& array, const InputSpec& spec,
                                    const std::optional<SizePair>& size, const std::string& format,
                                    const std::string& encoding, int threads) {
  const FrameArray frame(array, format, encoding);
  const Size grid = size ? read_size("size", *size) : Size{spec.width, spec.height};
  NewArray<std::uint8_t> out(length(grid.height) * grid.width);
  {
    const GilReleased released;
    luma(frame.frame(), spec, {out.data(), grid.width, grid.height, grid.width}, shared_pool(threads));
  }
  return out.give({length(grid.height), length(grid.width)});
}

NumpyArray<float> warp_array(const AnyArray& past_array, const AnyArray& flow_in, int threads) {
  const PackedArray<float> past(past_array, "past", {-1, -1, -1}, "(C, h, w)");
  const int channels = past.size(0);
  const int height = past.size(1);
  const int width = past.size(2);
  const PackedArray<float> flow = flow_array(flow_in, "flow", height, width);
  NewArray<float> out(length(channels) * height * width);
  {
    const GilReleased released;
    FlowField field;
    to_planes(flow, field);
    warp(past.data(), channels, field, out.data(), shared_pool(threads));
  }
  return out.give({length(channels), length(height), length(width)});
}

// The arguments of sample_argmax, checked and borrowed.
struct SampleInput {
  PackedArray<float> logits;
  std::optional<PackedArray<float>> flow;
  std::optional<PackedArray<float>> validity;
  Geometry geometry;
};

void run_sample(const SampleInput& in, ImageView<std::uint8_t> labels, ImageView<std::uint8_t> confidence,
                ThreadPool& pool) {
  const LogitsView logits{in.logits.data(), in.logits.size(0), in.logits.size(2), in.logits.size(1)};
  if (!in.flow && !in.validity) {
    sample_argmax(logits, in.geometry, labels, confidence, pool);
    return;
  }
  FlowField field;
  if (in.flow) {
    to_planes(*in.flow, field);
  } else {
    field.resize(in.validity->size(1), in.validity->size(0));
    field.fill(0.F);
  }
  ImageView<const float> validity;
  if (in.validity) {
    validity = {in.validity->data(), in.validity->size(1), in.validity->size(0), in.validity->size(1)};
  }
  PackedLogits packed;
  packed.assign(logits, pool);
  sample_argmax(packed, in.geometry, field, validity, labels, confidence, pool);
}

SampleInput read_sample_input(const AnyArray& logits_array, Size output, const std::optional<AnyArray>& flow,
                              const std::optional<AnyArray>& validity, bool align_corners,
                              const std::optional<SizePair>& input_size) {
  PackedArray<float> logits(logits_array, "logits", {-1, -1, -1}, "(C, h, w)");
  const Size input = input_size ? read_size("input_size", *input_size) : output;
  InputSpec spec;
  spec.width = input.width;
  spec.height = input.height;
  const LogitsSpec grid{.width = logits.size(2), .height = logits.size(1), .align_corners = align_corners};
  SampleInput in{std::move(logits), std::nullopt, std::nullopt, make_geometry(output, spec, grid)};
  if (flow) in.flow = flow_array(*flow, "flow");
  if (validity && in.flow) {
    in.validity = PackedArray<float>(*validity, "validity", {in.flow->size(0), in.flow->size(1)},
                                     "the flow's size, (h, w)");
  } else if (validity) {
    in.validity = PackedArray<float>(*validity, "validity", {-1, -1}, "(h, w)");
  }
  return in;
}

nb::object sample_array(const AnyArray& logits, const SizePair& size, const std::optional<AnyArray>& flow,
                        const std::optional<AnyArray>& validity, bool align_corners, bool confidence,
                        const std::optional<SizePair>& input_size, int threads) {
  const Size output = read_size("size", size);
  const SampleInput in = read_sample_input(logits, output, flow, validity, align_corners, input_size);
  const std::size_t pixels = length(output.height) * output.width;
  NewArray<std::uint8_t> labels(pixels);
  NewArray<std::uint8_t> certainty(confidence ? pixels : 0);
  const auto view = [&](const NewArray<std::uint8_t>& array) {
    return ImageView<std::uint8_t>{array.data(), output.width, output.height, output.width};
  };
  {
    const GilReleased released;
    run_sample(in, view(labels), confidence ? view(certainty) : ImageView<std::uint8_t>{},
               shared_pool(threads));
  }
  nb::object label_array = nb::cast(labels.give({length(output.height), length(output.width)}));
  if (!confidence) return label_array;
  return nb::make_tuple(label_array, nb::cast(certainty.give({length(output.height), length(output.width)})));
}

NumpyArray<float> carry_array(const AnyArray& logits, const AnyArray& flow, const SizePair& input_size,
                              bool align_corners, int threads) {
  const SampleInput in =
      read_sample_input(logits, read_size("input_size", input_size), flow, {}, align_corners, input_size);
  const LogitsView view{in.logits.data(), in.logits.size(0), in.logits.size(2), in.logits.size(1)};
  NewArray<float> out(length(view.classes) * view.height * view.width);
  {
    const GilReleased released;
    FlowField field;
    to_planes(*in.flow, field);
    ThreadPool& pool = shared_pool(threads);
    PackedLogits packed;
    packed.assign(view, pool);
    carry_logits(packed, make_logits_geometry(in.geometry), field, out.data(), pool);
  }
  return out.give({length(view.classes), length(view.height), length(view.width)});
}

#define STPL_RT_SAMPLE_SIGNATURE(confidence, returned)                                         \
  "def sample_argmax(logits: numpy.typing.NDArray[numpy.float32], size: tuple[int, int], *, "  \
  "flow: numpy.typing.NDArray[numpy.float32] | None = None, "                                  \
  "validity: numpy.typing.NDArray[numpy.float32] | None = None, align_corners: bool = False, " \
  "confidence: " confidence ", input_size: tuple[int, int] | None = None, threads: int = 0) -> " returned
constexpr const char* kSampleSignature =
    STPL_RT_SAMPLE_SIGNATURE("typing.Literal[False] = False", "numpy.typing.NDArray[numpy.uint8]");
constexpr const char* kSampleConfidenceSignature = STPL_RT_SAMPLE_SIGNATURE(
    "typing.Literal[True]", "tuple[numpy.typing.NDArray[numpy.uint8], numpy.typing.NDArray[numpy.uint8]]");
#undef STPL_RT_SAMPLE_SIGNATURE

constexpr const char* kSampleDoc =
    "Labels at `size` = (H, W) from low-resolution logits, in one pass: a bilinear read of C logits and an "
    "argmax\n"
    "for each output pixel; the lowest of equal classes wins. logits: float32 (C, h, w), C <= 255.\n\n"
    "flow: float32 (fh, fw, 2) that displaces the reads, in pixels of its own grid, which covers the "
    "network's\n"
    "input. validity: float32 (fh, fw) in [0, 1], multiplies the confidence. align_corners: how the logits "
    "lie on\n"
    "the input. input_size: (height, width) of the network's input; None: `size`.\n"
    "Returns uint8 (H, W) labels, with confidence=True (labels, confidence), confidence being\n"
    "round(255 * softmax maximum * validity). Without flow the labels are those of torch's\n"
    "interpolate(logits, size, mode='bilinear', align_corners=align_corners).argmax(0).";

}  // namespace

void register_ops(nb::module_& m) {
  m.def(
      "preprocess", &preprocess_array, "frame"_a, "spec"_a, nb::kw_only(), "format"_a = "rgb",
      "encoding"_a = "bt601", "threads"_a = 0,
      "A frame, uint8 (H, W, 3) in `format` ('rgb' | 'bgr'), (H, W) grey or (H + H / 2, W) in 'nv12' | "
      "'i420' with\n"
      "its `encoding`, as the network's input, float32 (3, spec.height, spec.width): look-up table, resize,\n"
      "normalise. What Segmenter.push does.");
  m.def(
      "luma", &luma_array, "frame"_a, "spec"_a, nb::kw_only(), "size"_a = nb::none(), "format"_a = "rgb",
      "encoding"_a = "bt601", "threads"_a = 0,
      "BT.601 luma of the frame before calibration, uint8 (h, w), resized as spec says onto `size` = (h, w)\n"
      "(None: the spec's own). What optical flow is computed on.");
  m.def("warp", &warp_array, "past"_a, "flow"_a, nb::kw_only(), "threads"_a = 0,
        "past(c, y + dy, x + dx), bilinear, border-clamped: float32 (C, h, w) along flow float32 (h, w, 2).");
  m.def(
      "carry_logits", &carry_array, "logits"_a, "flow"_a, "input_size"_a, nb::kw_only(),
      "align_corners"_a = false, "threads"_a = 0,
      "Logits, float32 (C, h, w), carried along `flow` on their own grid: the displaced bilinear reads that\n"
      "sample_argmax() makes, of the same arguments. float32 (C, h, w).");
  // Twice, for type checkers: what is returned follows from `confidence`.
  for (const char* signature : {kSampleSignature, kSampleConfidenceSignature}) {
    m.def("sample_argmax", &sample_array, "logits"_a, "size"_a, nb::kw_only(), "flow"_a = nb::none(),
          "validity"_a = nb::none(), "align_corners"_a = false, "confidence"_a = false,
          "input_size"_a = nb::none(), "threads"_a = 0, nb::sig(signature), kSampleDoc);
  }
}

}  // namespace stpl_rt::bindings
