// stpl_rt.Segmenter and what a push returns.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <stpl_rt/segmenter.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "arrays.h"
#include "module.h"
#include "options.h"

namespace stpl_rt::bindings {
namespace {

using nb::literals::operator""_a;

// What Python sees of a Result: the maps as arrays that own their memory.
struct PythonResult {
  nb::object labels;
  nb::object confidence;
  bool is_key;
  std::string key_reason;
  int age;
  std::uint64_t frame_index;
  Timing timing;
};

nb::object map_array(ByteMap map) {
  if (map.data.empty()) return nb::none();
  const auto height = static_cast<std::size_t>(map.height);
  const auto width = static_cast<std::size_t>(map.width);
  return nb::cast(own_array(std::move(map.data), {height, width}));
}

PythonResult convert(Result result) {
  return {.labels = map_array(std::move(result.labels)),
          .confidence = map_array(std::move(result.confidence)),
          .is_key = result.is_key,
          .key_reason = to_string(result.key_reason),
          .age = result.age,
          .frame_index = result.frame_index,
          .timing = result.timing};
}

nb::dict timing_dict(const Timing& timing) {
  nb::dict dict;
  dict["preprocess_ms"] = timing.preprocess_ms;
  dict["flow_ms"] = timing.flow_ms;
  dict["network_ms"] = timing.network_ms;
  dict["sample_ms"] = timing.sample_ms;
  dict["total_ms"] = timing.total_ms;
  return dict;
}

// A Segmenter takes one thread at a time, and push() releases the GIL: Python threads queue up here.
class PythonSegmenter {
 public:
  PythonSegmenter(const std::filesystem::path& bundle, const SegmenterOptions& options)
      : segmenter_(bundle, options) {}

  PythonResult push(const AnyArray& array, const std::optional<AnyArray>& flow, const std::string& format) {
    const FrameArray frame(array, format);
    std::optional<PackedArray<float>> vectors;
    if (flow) vectors.emplace(*flow, "flow", Shape{-1, -1, 2}, "(h, w, 2)");
    Result result;
    {
      const nb::gil_scoped_release release;
      const std::lock_guard lock(mutex_);
      result = vectors ? segmenter_.push(
                             frame.frame(),
                             {.data = vectors->data(), .width = vectors->size(1), .height = vectors->size(0)})
                       : segmenter_.push(frame.frame());
    }
    return convert(std::move(result));
  }

  void reset() {
    const nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    segmenter_.reset();
  }

  [[nodiscard]] const Bundle& bundle() const noexcept { return segmenter_.bundle(); }
  [[nodiscard]] std::string schedule() const { return segmenter_.schedule().to_string(); }
  [[nodiscard]] int threads() const noexcept { return segmenter_.threads(); }

 private:
  std::mutex mutex_;
  Segmenter segmenter_;
};

void init_segmenter(PythonSegmenter* self, const std::filesystem::path& bundle, std::string device,
                    const std::optional<std::string>& schedule, const std::string& precision, int threads,
                    bool confidence, bool scene_cuts) {
  const SegmenterOptions options{.device = std::move(device),
                                 .schedule = parse_schedule(schedule),
                                 .precision = parse_precision(precision),
                                 .threads = threads,
                                 .confidence = confidence,
                                 .scene_cuts = scene_cuts};
  const nb::gil_scoped_release release;
  new (self) PythonSegmenter(bundle, options);
}

constexpr const char* kPushDoc =
    "Segments the next frame of the stream and returns its Result.\n\n"
    "frame: uint8 (H, W, 3) in `format`, or (H, W) grey; NumPy, PyTorch or any DLPack array on the CPU. Rows "
    "may\n"
    "have any stride; only pixels that are not contiguous within a row are copied.\n"
    "flow: float32 (h, w, 2), the flow of this frame into the one pushed before it, (dx, dy) in pixels of "
    "its own\n"
    "grid, which may have any size; None: the runtime computes it.\n"
    "format: 'rgb' or 'bgr'.\n\n"
    "A frame of another size starts the stream anew. Raises TypeError for another element type and "
    "stpl_rt.Error\n"
    "for another shape; a frame that is refused leaves the stream as it was.";

constexpr const char* kSegmenterDoc =
    "Segments a live video stream, frame by frame. One Segmenter is one stream.\n\n"
    "path: a bundle's folder. device: 'cpu'. schedule: 'every' | 'fixed:K' | None, the bundle's own. "
    "precision:\n"
    "'f32' | 'bf16' | 'f16'. threads: of the network and the kernels; 0: the cores this process may use.\n"
    "confidence: also compute Result.confidence. scene_cuts: answer a cut in the video with a key frame.\n"
    "Raises stpl_rt.Error.";

void register_result(nb::module_& m) {
  const char* array = "def labels(self) -> numpy.typing.NDArray[numpy.uint8]";
  const char* array_or_none = "def confidence(self) -> numpy.typing.NDArray[numpy.uint8] | None";
  nb::class_<PythonResult>(m, "Result", "What one push returns.")
      .def_prop_ro(
          "labels", [](const PythonResult& self) { return self.labels; }, nb::sig(array),
          "uint8 (H, W): class ids in the order of the bundle's classes; owns its memory.")
      .def_prop_ro(
          "confidence", [](const PythonResult& self) { return self.confidence; }, nb::sig(array_or_none),
          "uint8 (H, W): round(255 * softmax maximum * validity); None unless asked for.")
      .def_ro("is_key", &PythonResult::is_key, "Whether the network ran on this frame.")
      .def_ro("key_reason", &PythonResult::key_reason,
              "Why it ran: 'none', 'first', 'schedule', 'scene_cut' or 'size_change'.")
      .def_ro("age", &PythonResult::age, "Frames since the key frame; 0 on a key frame.")
      .def_ro("frame_index", &PythonResult::frame_index,
              "Since construction, from 0; reset() does not rewind it.")
      .def_prop_ro(
          "timing", [](const PythonResult& self) { return timing_dict(self.timing); },
          nb::sig("def timing(self) -> dict[str, float]"),
          "Wall-clock milliseconds: preprocess_ms, flow_ms, network_ms, sample_ms, total_ms.");
}

}  // namespace

void register_segmenter(nb::module_& m) {
  register_result(m);
  nb::class_<PythonSegmenter>(m, "Segmenter", kSegmenterDoc)
      .def("__init__", &init_segmenter, "path"_a, nb::kw_only(), "device"_a = "cpu",
           "schedule"_a = nb::none(), "precision"_a = "f32", "threads"_a = 0, "confidence"_a = false,
           "scene_cuts"_a = true)
      .def("push", &PythonSegmenter::push, "frame"_a, "flow"_a = nb::none(), nb::kw_only(),
           "format"_a = "rgb", kPushDoc)
      .def("__call__", &PythonSegmenter::push, "frame"_a, "flow"_a = nb::none(), nb::kw_only(),
           "format"_a = "rgb", "The same as push().")
      .def("reset", &PythonSegmenter::reset, "Forgets the past: the next frame is a key frame.")
      .def_prop_ro("bundle", &PythonSegmenter::bundle, nb::rv_policy::reference_internal)
      .def_prop_ro("schedule", &PythonSegmenter::schedule, "'every' or 'fixed:K'.")
      .def_prop_ro("threads", &PythonSegmenter::threads, "Threads in use.");
}

}  // namespace stpl_rt::bindings
