// stpl_rt.Segmenter and what a push returns.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <stpl_rt/error.h>
#include <stpl_rt/segmenter.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "device_arrays.h"
#include "gil.h"
#include "module.h"
#include "options.h"

namespace stpl_rt::bindings {
namespace {

using nb::literals::operator""_a;

// What Python sees of a map: an array over the runtime's memory, which it keeps, or one on the GPU, and then
// its copy, made when it is asked for.
class PythonMap {
 public:
  PythonMap(ByteMap host, DeviceMap device) : device_(std::move(device)) {
    if (!host.empty()) host_ = to_array(std::move(host));
  }
  nb::object host() {
    if (!host_.is_valid()) host_ = device_.empty() ? nb::none() : nb::cast(DeviceArray(device_).to_numpy());
    return host_;
  }
  [[nodiscard]] nb::object device() const {
    return device_.empty() ? nb::none() : nb::cast(DeviceArray(device_));
  }

 private:
  static nb::object to_array(ByteMap map) {
    const auto height = static_cast<std::size_t>(map.height());
    const auto width = static_cast<std::size_t>(map.width());
    auto* const first =
        const_cast<std::uint8_t*>(map.data());  // nobody else holds it: the array may be written to
    return nb::cast(own_array(first, std::move(map), {height, width}));
  }

  nb::object host_;
  DeviceMap device_;
};

struct PythonResult {
  PythonMap labels;
  PythonMap confidence;
  bool is_key;
  std::string key_reason;
  int age;
  double drift;
  std::uint64_t frame_index;
  Timing timing;
};

PythonResult convert(Result result) {
  return {.labels = {std::move(result.labels), std::move(result.device_labels)},
          .confidence = {std::move(result.confidence), std::move(result.device_confidence)},
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
  Given(nb::handle frame_given, nb::handle flow_given, const std::string& format, const std::string& encoding,
        std::optional<double> timestamp, Segmenter& segmenter)
      : source(take_frame(frame_given, segmenter)), frame(source.read(format, encoding)) {
    info.timestamp = timestamp;
    if (flow_given.is_none()) return;
    flow_source = take_array(flow_given, "flow", segmenter);
    check_flow_size(flow_source.array);
    constexpr const char* kExpected = "(h, w, 2)";
    if (flow_source.place == ArrayPlace::device) {
      info.flow = on_device(flow_source.array, kExpected);
      return;
    }
    vectors.emplace(flow_source.array, "flow", Shape{-1, -1, 2}, kExpected);
    info.flow = FlowView{.data = vectors->data(), .width = vectors->size(1), .height = vectors->size(0)};
  }

  // Whether the GPU reads what was given after the call.
  [[nodiscard]] bool is_read_later() const noexcept {
    return source.place == ArrayPlace::device || flow_source.place == ArrayPlace::device;
  }

  // What must stay until the GPU has read it.
  [[nodiscard]] std::vector<AnyArray> arrays() const {
    std::vector<AnyArray> all = source.arrays;
    all.push_back(flow_source.array);
    return all;
  }

  GivenFrame source;
  GivenArray flow_source;
  FrameArray frame;
  std::optional<PackedArray<float>> vectors;
  FrameInfo info;

 private:
  static FlowView on_device(const AnyArray& array, const char* expected) {
    check_array(array, "flow", nb::dtype<float>(), {-1, -1, 2}, expected, ArrayPlace::device);
    if (!packed_from(array, 1)) {
      throw Error(
          ErrorCode::invalid_argument,
          "flow: expected vectors without gaps within a row, as nothing is copied in device memory, found " +
              describe(array) + " with others; make it contiguous first");
    }
    return {.data = static_cast<const float*>(array.data()),
            .width = static_cast<int>(array.shape(1)),
            .height = static_cast<int>(array.shape(0)),
            .stride = array.shape(0) == 1 ? 0 : static_cast<std::ptrdiff_t>(array.stride(0)),
            .memory = FrameMemory::device};
  }
};

// Arrays that the GPU reads, until it has.
class Lent {
 public:
  // The frame is in before anything can fail: the GPU may be reading it.
  void add(const Given& given, const DeviceMap& until) {
    if (!until.empty()) all_.push_back({given.arrays(), until});
    while (!all_.empty() && all_.front().until.is_ready()) all_.pop_front();
  }
  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
  // Once the GPU has read them all.
  void clear() noexcept { all_.clear(); }

 private:
  struct Item {
    std::vector<AnyArray> arrays;
    DeviceMap until;
  };
  std::deque<Item> all_;
};

// A Segmenter and what it reads.
struct Stream {
  template <class Source>
  Stream(const Source& bundle, const SegmenterOptions& options) : segmenter(bundle, options) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  // The Segmenter waits for the frame in hand and for a late network; other Python threads do not. What was
  // lent is Python's and goes under its lock, and while the stream that read it is there: its owners may ask
  // how far that is.
  ~Stream() {
    if (!lent.empty() && waited()) lent.clear();
    const GilReleased released;
    const Segmenter last(std::move(segmenter));
  }

  Lent lent;
  Segmenter segmenter;

 private:
  bool waited() noexcept {
    try {
      const GilReleased released;
      segmenter.wait();
      return true;
    } catch (const Error&) {  // in its own thread; or made before fork(), its threads are not here
      return false;
    }
  }
};

// Those that live, to be waited for when the interpreter ends; under its lock.
std::vector<std::weak_ptr<Stream>>& live_streams() {
  static auto* const all = new std::vector<std::weak_ptr<Stream>>;
  return *all;
}

void keep_in_sight(const std::shared_ptr<Stream>& stream) {
  auto& all = live_streams();
  std::erase_if(all, [](const std::weak_ptr<Stream>& each) { return each.expired(); });
  all.push_back(stream);
}

class PythonSegmenter {
 public:
  explicit PythonSegmenter(std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)), segmenter_(stream_->segmenter) {}

  PythonResult push(nb::handle frame, nb::handle flow, const std::string& format, const std::string& encoding,
                    std::optional<double> timestamp) {
    const Given given(frame, flow, format, encoding, timestamp, segmenter_);
    Result result;
    {
      const GilReleased released;
      result = segmenter_.push(given.frame.frame(), given.info);
    }
    if (given.is_read_later()) stream_->lent.add(given, result.device_labels);
    return convert(std::move(result));
  }

  void submit(nb::handle frame, nb::handle flow, const std::string& format, const std::string& encoding,
              std::optional<double> timestamp) {
    const Given given(frame, flow, format, encoding, timestamp, segmenter_);
    const std::shared_ptr<const void> owner = given.is_read_later() ? keep(given) : nullptr;
    // A queue that nobody collects from is waited for until Ctrl-C.
    while (!submit_soon(given, owner)) {
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

  void wait() {
    const GilReleased released;
    segmenter_.wait();
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

  [[nodiscard]] std::optional<std::uintptr_t> cuda_stream() const {
    void* const stream = segmenter_.cuda_stream();
    if (stream == nullptr) return std::nullopt;
    return reinterpret_cast<std::uintptr_t>(stream);
  }
  [[nodiscard]] std::size_t pending() const noexcept { return segmenter_.pending(); }
  [[nodiscard]] const Bundle& bundle() const noexcept { return segmenter_.bundle(); }
  [[nodiscard]] std::string schedule() const { return segmenter_.schedule().to_string(); }
  [[nodiscard]] int threads() const noexcept { return segmenter_.threads(); }
  [[nodiscard]] int queue() const noexcept { return segmenter_.queue(); }

 private:
  // Let go by whichever thread is the last.
  static std::shared_ptr<const void> keep(const Given& given) {
    const auto let_go = [](const std::vector<AnyArray>* arrays) {
      if (Py_IsInitialized() == 0) return;  // nothing can be let go any more
      const nb::gil_scoped_acquire acquired;
      delete arrays;
    };
    return std::shared_ptr<const std::vector<AnyArray>>(new std::vector<AnyArray>(given.arrays()), let_go);
  }

  bool submit_soon(const Given& given, const std::shared_ptr<const void>& owner) {
    constexpr std::chrono::milliseconds kPatience{50};  // until signals are looked at
    const GilReleased released;
    return segmenter_.try_submit(given.frame.frame(), given.info, owner, kPatience);
  }

  std::shared_ptr<Stream> stream_;
  Segmenter& segmenter_;
};

template <class Source>
void init_segmenter(PythonSegmenter* self, const Source& bundle, std::string device,
                    const std::optional<std::string>& schedule, const std::string& precision, int threads,
                    bool confidence, bool scene_cuts, bool flow_check, int key_lag, bool fuse, bool update,
                    int queue, bool device_labels, std::uintptr_t cuda_stream, bool build_engines,
                    bool trust_engines) {
  const SegmenterOptions options{.device = std::move(device),
                                 .schedule = parse_schedule(schedule),
                                 .precision = parse_precision(precision),
                                 .threads = threads,
                                 .confidence = confidence,
                                 .scene_cuts = scene_cuts,
                                 .flow_check = flow_check,
                                 .key_lag = key_lag,
                                 .fuse = fuse,
                                 .update = update,
                                 .queue = queue,
                                 .device_labels = device_labels,
                                 // NOLINTNEXTLINE(performance-no-int-to-ptr): Python's streams are numbers
                                 .cuda_stream = reinterpret_cast<void*>(cuda_stream),
                                 .build_engines = build_engines,
                                 .trust_engines = trust_engines};
  std::shared_ptr<Stream> stream;
  {
    const GilReleased released;
    stream = std::make_shared<Stream>(bundle, options);
  }
  keep_in_sight(stream);
  new (self) PythonSegmenter(std::move(stream));
}

constexpr const char* kPushDoc =
    "Segments the next frame of the stream and returns its Result.\n\n"
    "frame: uint8 (H, W, 3) in `format`, or (H, W) grey, or (H + H / 2, W) for 'nv12' and 'i420', the planes "
    "below\n"
    "each other, or a list of their planes, luma (H, W) and chroma: (H / 2, W / 2, 2) of 'nv12', twice\n"
    "(H / 2, W / 2) of 'i420'; NumPy, PyTorch or any DLPack arrays. Rows may have any stride; only pixels "
    "that are\n"
    "not contiguous within a row are copied. With a device 'cuda' also arrays in that GPU's memory (PyTorch, "
    "CuPy,\n"
    "PyCUDA, anything with __dlpack__ or __cuda_array_interface__): nothing is copied to the host, what "
    "writes\n"
    "them is waited for on the GPU, and they must not be written again before the labels are there.\n"
    "flow: float32 (h, w, 2), the flow of this frame into the one pushed before it, (dx, dy) in pixels of "
    "its own\n"
    "grid, which may have any size; None: the runtime computes it.\n"
    "format: 'rgb', 'bgr', 'nv12' or 'i420'. encoding: of the last two: 'bt601', 'bt709', 'bt601_full' or\n"
    "'bt709_full'. timestamp: seconds; where two frames or more are missing by it, it is a key frame.\n\n"
    "A frame of another size starts the stream anew. Raises TypeError for another element type and "
    "stpl_rt.Error\n"
    "for another shape, or (code 'in_use') while another thread is inside; a frame that is refused leaves "
    "the\n"
    "stream as it was.";
constexpr const char* kSubmitDoc =
    "Gives the next frame, with the arguments of push(), to the Segmenter's own thread; waits while `queue` "
    "frames\n"
    "are on their way. The frame is copied, or, on a GPU, kept until its result is collected.";
constexpr const char* kCollectDoc =
    "Waits for the next result of what was submitted, in the order of the frames; raises what push() would "
    "have.";

constexpr const char* kSegmenterDoc =
    "Segments a live video stream, frame by frame. One Segmenter is one stream.\n\n"
    "bundle: a bundle's folder, or a Bundle: Segmenters of one Bundle share its compiled network.\n"
    "device: 'cpu' | 'cuda' | 'cuda:N', where this build has it.\n"
    "schedule: 'every' | 'fixed:K' | 'adaptive' | 'adaptive:DRIFT[:LONGEST]' | None, the "
    "bundle's own.\n"
    "precision: 'f32' | 'bf16' | 'f16'. threads: of the network and the kernels; 0: the cores this process "
    "may use.\n"
    "confidence: also compute Result.confidence. scene_cuts: answer a cut in the video with a key frame.\n"
    "flow_check: search the flow the other way round, too, and trust no pixel that does not come back (the\n"
    "forward-backward check): it lowers the confidence, and adaptive schedules count it as drift.\n"
    "key_lag: frames by which the network may be late while propagated labels go on; 0: push() waits for "
    "it.\n"
    "fuse, update: accel mode, where the bundle has those networks: fuse key frames with what was carried to "
    "them;\n"
    "correct what was carried to the frames between.\n"
    "queue: frames that submit() takes before the first result is collected.\n"
    "device_labels: on a GPU, the labels stay in its memory as Result.device_labels, and push() does not "
    "wait\n"
    "for them. cuda_stream: the number of the CUDA stream on which all is enqueued\n"
    "(torch.cuda.Stream().cuda_stream), but 2, which is each thread's own; 0: one of the Segmenter's.\n"
    "build_engines: on a GPU, build a TensorRT plan where the user's cache has none that fits. "
    "trust_engines: "
    "use plans\n"
    "that came with the bundle; a plan is code. Raises stpl_rt.Error.";

void register_result(nb::module_& m) {
  const char* array = "def labels(self) -> numpy.typing.NDArray[numpy.uint8]";
  const char* array_or_none = "def confidence(self) -> numpy.typing.NDArray[numpy.uint8] | None";
  nb::class_<PythonResult>(m, "Result", "What one push returns.")
      .def_prop_ro(
          "labels", [](PythonResult& self) { return self.labels.host(); }, nb::sig(array),
          "uint8 (H, W): class ids in the order of the bundle's classes; owns its memory. With the option\n"
          "device_labels it is waited for and copied from the GPU when it is first asked for.")
      .def_prop_ro(
          "device_labels", [](const PythonResult& self) { return self.labels.device(); },
          nb::sig("def device_labels(self) -> DeviceArray | None"),
          "The labels in the GPU's memory, with the option device_labels; else None.")
      .def_prop_ro(
          "device_confidence", [](const PythonResult& self) { return self.confidence.device(); },
          nb::sig("def device_confidence(self) -> DeviceArray | None"))
      .def_prop_ro(
          "confidence", [](PythonResult& self) { return self.confidence.host(); }, nb::sig(array_or_none),
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

void wait_for_segmenters() {
  for (const std::weak_ptr<Stream>& each : std::vector(live_streams())) {
    const std::shared_ptr<Stream> stream = each.lock();
    if (!stream) continue;
    const GilReleased released;
    try {
      stream->segmenter.wait();
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): made before fork(), its threads are not here
    }
  }
}

void register_segmenter(nb::module_& m) {
  register_result(m);
  const auto construct = [](auto& cls, auto init) {
    cls.def("__init__", init, "bundle"_a, nb::kw_only(), "device"_a = "cpu", "schedule"_a = nb::none(),
            "precision"_a = "f32", "threads"_a = 0, "confidence"_a = false, "scene_cuts"_a = true,
            "flow_check"_a = false, "key_lag"_a = 0, "fuse"_a = false, "update"_a = false, "queue"_a = 4,
            "device_labels"_a = false, "cuda_stream"_a = 0, "build_engines"_a = false,
            "trust_engines"_a = false);
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
      .def("wait", &PythonSegmenter::wait,
           "Waits until nothing of it is at work in the background: what was submitted is done, and stays to "
           "be\n"
           "collected, and no late network (key_lag) runs.")
      .def_prop_ro("pending", &PythonSegmenter::pending, "Frames submitted and not collected.")
      .def_prop_ro("cuda_stream", &PythonSegmenter::cuda_stream,
                   "On a GPU the number of the CUDA stream on which all of it is enqueued; None on the CPU.")
      .def_prop_ro("bundle", &PythonSegmenter::bundle, nb::rv_policy::reference_internal)
      .def_prop_ro("schedule", &PythonSegmenter::schedule, "As the argument takes it.")
      .def_prop_ro("queue", &PythonSegmenter::queue,
                   "Frames that submit() takes before a result is collected.")
      .def_prop_ro("threads", &PythonSegmenter::threads, "Threads in use.");
}

}  // namespace stpl_rt::bindings
