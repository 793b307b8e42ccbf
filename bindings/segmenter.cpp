// stpl_rt.Segmenter and what a push returns.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <stpl_rt/error.h>
#include <stpl_rt/segmenter.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "arrays.h"
#include "gil.h"
#include "module.h"
#include "options.h"

namespace stpl_rt::bindings {
namespace {

using nb::literals::operator""_a;

// What Python sees of a Result: the maps as arrays over the runtime's memory, which they keep.
struct PythonResult {
  nb::object labels;
  nb::object confidence;
  bool is_key;
  std::string key_reason;
  int age;
  double drift;
  std::uint64_t frame_index;
  Timing timing;
};

nb::object map_array(ByteMap map) {
  if (map.empty()) return nb::none();
  const auto height = static_cast<std::size_t>(map.height());
  const auto width = static_cast<std::size_t>(map.width());
  auto* const first =
      const_cast<std::uint8_t*>(map.data());  // nobody else holds it: the array may be written to
  return nb::cast(own_array(first, std::move(map), {height, width}));
}

PythonResult convert(Result result) {
  return {.labels = map_array(std::move(result.labels)),
          .confidence = map_array(std::move(result.confidence)),
          .is_key = result.is_key,
          .key_reason = to_string(result.key_reason),
          .age = result.age,
          .drift = result.drift,
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

// Refuses what the Segmenter would refuse, before it is copied; the rest of the shape is checked with the
// type.
void check_flow_size(const AnyArray& flow) {
  for (std::size_t axis = 0; axis < std::min<std::size_t>(flow.ndim(), 2); ++axis) {
    if (static_cast<std::int64_t>(flow.shape(axis)) > kMaxSide) {
      throw Error(ErrorCode::invalid_argument, "flow: expected a width and height from 1 to " +
                                                   std::to_string(kMaxSide) + ", found " + describe(flow));
    }
  }
}

// Frame and what is known of it, borrowed from Python for one call.
struct Given {
  Given(const AnyArray& array, const std::optional<AnyArray>& flow, const std::string& format,
        const std::string& encoding, std::optional<double> timestamp)
      : frame(array, format, encoding) {
    info.timestamp = timestamp;
    if (!flow) return;
    check_flow_size(*flow);
    vectors.emplace(*flow, "flow", Shape{-1, -1, 2}, "(h, w, 2)");
    info.flow = FlowView{.data = vectors->data(), .width = vectors->size(1), .height = vectors->size(0)};
  }
  FrameArray frame;
  std::optional<PackedArray<float>> vectors;
  FrameInfo info;
};

class PythonSegmenter {
 public:
  PythonSegmenter(const std::filesystem::path& bundle, const SegmenterOptions& options)
      : segmenter_(bundle, options) {}
  PythonSegmenter(const Bundle& bundle, const SegmenterOptions& options) : segmenter_(bundle, options) {}

  PythonResult push(const AnyArray& array, const std::optional<AnyArray>& flow, const std::string& format,
                    const std::string& encoding, std::optional<double> timestamp) {
    const Given given(array, flow, format, encoding, timestamp);
    Result result;
    {
      const GilReleased released;
      result = segmenter_.push(given.frame.frame(), given.info);
    }
    return convert(std::move(result));
  }

  void submit(const AnyArray& array, const std::optional<AnyArray>& flow, const std::string& format,
              const std::string& encoding, std::optional<double> timestamp) {
    const Given given(array, flow, format, encoding, timestamp);
    // A queue that nobody collects from is waited for until Ctrl-C.
    while (!submit_soon(given)) {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
    }
  }

  PythonResult collect() {
    Result result;
    {
      const GilReleased released;
      result = segmenter_.collect();
    }
    return convert(std::move(result));
  }

  void reset() {
    const GilReleased released;
    segmenter_.reset();
  }

  NumpyArray<float> logits() {
    std::vector<float> values;
    {
      const GilReleased released;
      segmenter_.logits(values);
    }
    const Bundle& bundle = segmenter_.bundle();
    return own_array(std::move(values),
                     {bundle.classes.size(), static_cast<std::size_t>(bundle.logits.height),
                      static_cast<std::size_t>(bundle.logits.width)});
  }

  [[nodiscard]] std::size_t pending() const noexcept { return segmenter_.pending(); }
  [[nodiscard]] const Bundle& bundle() const noexcept { return segmenter_.bundle(); }
  [[nodiscard]] std::string schedule() const { return segmenter_.schedule().to_string(); }
  [[nodiscard]] int threads() const noexcept { return segmenter_.threads(); }
  [[nodiscard]] int queue() const noexcept { return segmenter_.queue(); }

 private:
  bool submit_soon(const Given& given) {
    constexpr std::chrono::milliseconds kPatience{50};  // until signals are looked at
    const GilReleased released;
    return segmenter_.try_submit(given.frame.frame(), given.info, nullptr, kPatience);
  }

  Segmenter segmenter_;
};

template <class Source>
void init_segmenter(PythonSegmenter* self, const Source& bundle, std::string device,
                    const std::optional<std::string>& schedule, const std::string& precision, int threads,
                    bool confidence, bool scene_cuts, int key_lag, bool fuse, bool update, int queue) {
  const SegmenterOptions options{.device = std::move(device),
                                 .schedule = parse_schedule(schedule),
                                 .precision = parse_precision(precision),
                                 .threads = threads,
                                 .confidence = confidence,
                                 .scene_cuts = scene_cuts,
                                 .key_lag = key_lag,
                                 .fuse = fuse,
                                 .update = update,
                                 .queue = queue};
  const GilReleased released;
  new (self) PythonSegmenter(bundle, options);
}

constexpr const char* kPushDoc =
    "Segments the next frame of the stream and returns its Result.\n\n"
    "frame: uint8 (H, W, 3) in `format`, or (H, W) grey, or (H + H / 2, W) for 'nv12' and 'i420', the planes "
    "below\n"
    "each other; NumPy, PyTorch or any DLPack array on the CPU. Rows may have any stride; only pixels that "
    "are\n"
    "not contiguous within a row are copied.\n"
    "flow: float32 (h, w, 2), the flow of this frame into the one pushed before it, (dx, dy) in pixels of "
    "its own\n"
    "grid, which may have any size; None: the runtime computes it.\n"
    "format: 'rgb', 'bgr', 'nv12' or 'i420'. encoding: of the last two: 'bt601', 'bt709', 'bt601_full' or\n"
    "'bt709_full'. timestamp: seconds; where frames are missing by it, the frame is a key frame.\n\n"
    "A frame of another size starts the stream anew. Raises TypeError for another element type and "
    "stpl_rt.Error\n"
    "for another shape, or (code 'in_use') while another thread is inside; a frame that is refused leaves "
    "the\n"
    "stream as it was.";
constexpr const char* kSubmitDoc =
    "Gives the next frame, with the arguments of push(), to the Segmenter's own thread; waits while `queue` "
    "frames\n"
    "are on their way. The frame is copied.";
constexpr const char* kCollectDoc =
    "Waits for the next result of what was submitted, in the order of the frames; raises what push() would "
    "have.";

constexpr const char* kSegmenterDoc =
    "Segments a live video stream, frame by frame. One Segmenter is one stream.\n\n"
    "bundle: a bundle's folder, or a Bundle: Segmenters of one Bundle share its compiled network.\n"
    "device: 'cpu'. schedule: 'every' | 'fixed:K' | 'adaptive' | 'adaptive:DRIFT[:LONGEST]' | None, the "
    "bundle's own.\n"
    "precision: 'f32' | 'bf16' | 'f16'. threads: of the network and the kernels; 0: the cores this process "
    "may use.\n"
    "confidence: also compute Result.confidence. scene_cuts: answer a cut in the video with a key frame.\n"
    "key_lag: frames by which the network may be late while propagated labels go on; 0: push() waits for "
    "it.\n"
    "fuse, update: accel mode, where the bundle has those networks: fuse key frames with what was carried to "
    "them;\n"
    "correct what was carried to the frames between.\n"
    "queue: frames that submit() takes before the first result is collected. Raises stpl_rt.Error.";

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
      .def_ro("is_key", &PythonResult::is_key,
              "Whether the network ran, or, with key_lag, was started on this frame.")
      .def_ro("key_reason", &PythonResult::key_reason,
              "Why it ran: 'none', 'first', 'schedule', 'drift', 'scene_cut', 'gap' or 'size_change'.")
      .def_ro("age", &PythonResult::age, "Frames since the key frame whose logits are shown.")
      .def_ro("drift", &PythonResult::drift,
              "Of the frames since the key frame, summed: what adaptive schedules go by.")
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
  const auto construct = [](auto& cls, auto init) {
    cls.def("__init__", init, "bundle"_a, nb::kw_only(), "device"_a = "cpu", "schedule"_a = nb::none(),
            "precision"_a = "f32", "threads"_a = 0, "confidence"_a = false, "scene_cuts"_a = true,
            "key_lag"_a = 0, "fuse"_a = false, "update"_a = false, "queue"_a = 4);
  };
  nb::class_<PythonSegmenter> cls(m, "Segmenter", kSegmenterDoc);
  construct(cls, &init_segmenter<Bundle>);
  construct(cls, &init_segmenter<std::filesystem::path>);
  const auto takes_frame = [&cls](const char* name, auto method, const char* doc) {
    cls.def(name, method, "frame"_a, "flow"_a = nb::none(), nb::kw_only(), "format"_a = "rgb",
            "encoding"_a = "bt601", "timestamp"_a = nb::none(), doc);
  };
  takes_frame("push", &PythonSegmenter::push, kPushDoc);
  takes_frame("__call__", &PythonSegmenter::push, "The same as push().");
  takes_frame("submit", &PythonSegmenter::submit, kSubmitDoc);
  cls.def("collect", &PythonSegmenter::collect, kCollectDoc)
      .def("reset", &PythonSegmenter::reset, "Forgets the past: the next frame is a key frame.")
      .def("logits", &PythonSegmenter::logits,
           "float32 (C, h, w): the logits of the latest frame; of a propagated one the key frame's, carried "
           "along "
           "the flow.")
      .def_prop_ro("pending", &PythonSegmenter::pending, "Frames submitted and not collected.")
      .def_prop_ro("bundle", &PythonSegmenter::bundle, nb::rv_policy::reference_internal)
      .def_prop_ro("schedule", &PythonSegmenter::schedule, "As the argument takes it.")
      .def_prop_ro("queue", &PythonSegmenter::queue,
                   "Frames that submit() takes before a result is collected.")
      .def_prop_ro("threads", &PythonSegmenter::threads, "Threads in use.");
}

}  // namespace stpl_rt::bindings
