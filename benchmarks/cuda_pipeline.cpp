// Times whole frames on the GPU that is here, from a frame to its labels: JSON to standard output, or to a
// file as it goes.
//
// Run: stpl_rt_cuda_pipeline [BUNDLE [PRECISION [FRAMES]]] [--json FILE]
//
// With a bundle, its network with TensorRT, and the network alone beside it. Without one, a network that does
// nothing, at three sizes with 19 classes from a quarter of them: what all the rest costs.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/cuda/device.h"
#include "core/cuda/graph.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "core/half.h"
#include "core/sha256.h"
#include "figures.h"
#include "segmenter/device_stream.h"

namespace {

using namespace stpl_rt;  // NOLINT(google-build-using-namespace): a program of its own
using json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kBurst =
    4;  // frames that are enqueued before the GPU is waited for: fewer than may be in flight
constexpr int kRounds = 7;
constexpr int kFewRounds = 3;

double microseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

json spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {{"number", values.size()},
          {"p50_us", values[values.size() / 2]},
          {"p99_us", values[values.size() * 99 / 100]}};
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Marks between pieces of work that are enqueued one after the other: what each took the GPU.
class Laps {
 public:
  explicit Laps(int most) {
    marks_.reserve(static_cast<std::size_t>(most) + 1);
    for (int i = 0; i <= most; ++i) marks_.emplace_back(cuda::Event::Timing::on);
  }
  void begin(cuda::StreamHandle stream) {
    count_ = 0;
    mark(stream);
  }
  void mark(cuda::StreamHandle stream) { marks_[count_++].record(stream); }
  // Once all is done.
  [[nodiscard]] std::vector<double> microseconds() const {
    std::vector<double> found;
    for (std::size_t i = 1; i < count_; ++i) {
      found.push_back(1000 * marks_[i].milliseconds_since(marks_[i - 1]));
    }
    return found;
  }

 private:
  std::vector<cuda::Event> marks_;
  std::size_t count_ = 0;
};

// Frames of a schedule, each type by itself, and all of them: a mean for each round.
struct FrameTimes {
  std::vector<double> key, propagated, round;

  void add(const std::vector<double>& laps, const std::vector<bool>& is_key) {
    for (std::size_t i = 0; i < laps.size(); ++i) (is_key[i] ? key : propagated).push_back(laps[i]);
    round.push_back(mean(laps));
  }
  [[nodiscard]] json found() && {
    json result = {{"mean of a round", spread(std::move(round))}};
    if (!key.empty()) result["key"] = spread(std::move(key));  // "adaptive" may want none while it is timed
    if (!propagated.empty()) result["propagated"] = spread(std::move(propagated));
    return result;
  }
};

// Takes no time, and says that everything is of one class.
class NoNetwork final : public DeviceEngine {
 public:
  explicit NoNetwork(const Bundle& bundle) {
    input_.reserve(std::size_t{3} * bundle.input.width * bundle.input.height);
    const std::size_t values = bundle.classes.size() * bundle.logits.width * bundle.logits.height;
    output_.reserve(values);
    cuda::set_bytes(output_.data(), 0, values * sizeof(Half), nullptr);
    cuda::Stream::wait_for(nullptr);
  }
  [[nodiscard]] void* input(std::size_t /*index*/) const noexcept override { return input_.data(); }
  [[nodiscard]] TensorType input_type(std::size_t /*index*/) const noexcept override {
    return TensorType::f16;
  }
  [[nodiscard]] const void* output() const noexcept override { return output_.data(); }
  [[nodiscard]] TensorType output_type() const noexcept override { return TensorType::f16; }
  void enqueue(cuda::StreamHandle /*stream*/) override {}

 private:
  cuda::DeviceBuffer<Half> input_, output_;
};

using MakeEngine = std::function<std::unique_ptr<DeviceEngine>()>;

// Pictures that move by three pixels a frame, NV12, in the GPU's memory and in the host's. After the last one
// comes the first one again, a jump: what looks for scene cuts may find one there, and its key frames are
// counted.
class Drive {
 public:
  explicit Drive(Size size) : size_(size) {
    const int rows = size.height * 3 / 2;
    for (std::size_t t = 0; t < host_.size(); ++t) {
      auto& pixels = host_[t];
      pixels.resize(static_cast<std::size_t>(size.width) * rows);
      std::size_t i = 0;
      for (int y = 0; y < rows; ++y) {
        for (int x = 0; x < size.width; ++x) {
          const int u = (x + 3 * static_cast<int>(t)) / 5, v = y / 5;
          pixels[i++] = static_cast<std::uint8_t>(u * 57 + v * 131 + u * v % 211);
        }
      }
      device_[t].reserve(pixels.size());
      cuda::copy(device_[t].data(), pixels.data(), pixels.size(), nullptr);
    }
    cuda::Stream::wait_for(nullptr);
  }
  [[nodiscard]] Frame at(int t, FrameMemory memory) const {
    const std::size_t i = static_cast<std::size_t>(t) % host_.size();
    Frame frame{.data = memory == FrameMemory::device ? device_[i].data() : host_[i].data(),
                .width = size_.width,
                .height = size_.height,
                .format = PixelFormat::nv12};
    frame.memory = memory;
    return frame;
  }

 private:
  Size size_;
  std::array<std::vector<std::uint8_t>, 16> host_;
  std::array<cuda::DeviceBuffer<std::uint8_t>, 16> device_;
};

struct Setting {
  const Bundle& bundle;
  MakeEngine engine;
  const Drive& drive;
  int frames;
};

// What differs between rows. A frame waits for nothing half-way, unless scene cuts are looked for.
struct Row {
  std::string schedule;
  bool graphs = true;
  bool scene_cuts = false;
  int rounds = kRounds;

  // Otherwise the frames do.
  [[nodiscard]] bool schedule_decides() const { return !scene_cuts && schedule != "adaptive"; }
};

std::unique_ptr<DeviceStream> stream_of(const Setting& setting, const Row& row, bool stays) {
  SegmenterOptions options;
  options.schedule = Schedule::parse(row.schedule);
  options.scene_cuts = row.scene_cuts;
  options.device_labels = stays;
  return DeviceStream::make(setting.bundle, options, {.device = 0, .graphs = row.graphs},
                            {.segment = setting.engine(), .fuse = {}, .update = {}, .of = {}});
}

// From and to the GPU's memory: what a frame takes the GPU, and what it takes the host to enqueue it, its
// wait half-way included.
json resident(const Setting& setting, const Row& row) {
  const auto stream = stream_of(setting, row, true);
  auto* const handle = static_cast<cuda::StreamHandle>(stream->cuda_stream());
  std::vector<double> enqueue;
  FrameTimes frames;
  Laps laps(setting.frames);
  int t = 0, key_frames = 0;
  const auto push = [&] {
    const bool is_key = stream->push(setting.drive.at(t++, FrameMemory::device), {}).is_key;
    key_frames += is_key ? 1 : 0;
    return is_key;
  };
  for (int round = -1; round < row.rounds; ++round) {  // the first one warms up
    std::vector<bool> is_key;
    laps.begin(handle);
    for (int i = 0; i < setting.frames; ++i) {
      is_key.push_back(push());
      laps.mark(handle);
    }
    cuda::Stream::wait_for(handle);
    if (round >= 0) frames.add(laps.microseconds(), is_key);
    for (int i = 0; i < setting.frames; i += kBurst) {
      for (int k = 0; k < kBurst; ++k) {
        const auto before = Clock::now();
        (void)push();
        if (round >= 0) enqueue.push_back(microseconds_since(before));
      }
      cuda::Stream::wait_for(handle);
    }
  }
  json found = {{"frame", std::move(frames).found()}, {"enqueue", spread(std::move(enqueue))}};
  if (!row.schedule_decides()) found["key frames"] = {{"number", key_frames}, {"of", t}};
  return found;
}

// From and to the host's memory, one frame ahead: from one frame's labels to the next one's.
json pipelined(const Setting& setting, const Row& row) {
  const auto stream = stream_of(setting, row, false);
  FrameTimes frames;
  int t = 0;
  const auto start = [&] { return stream->start(setting.drive.at(t++, FrameMemory::host), {}); };
  Result ahead = start();
  for (int round = -1; round < row.rounds; ++round) {
    std::vector<double> laps;
    std::vector<bool> is_key;
    auto before = Clock::now();
    for (int i = 0; i < setting.frames; ++i) {
      Result next = start();
      stream->finish(ahead);
      is_key.push_back(ahead.is_key);
      laps.push_back(microseconds_since(std::exchange(before, Clock::now())));
      ahead = std::move(next);
    }
    if (round >= 0) frames.add(laps, is_key);
  }
  stream->finish(ahead);
  return {{"frame", std::move(frames).found()}};
}

template <class T>
void write_noise(void* to, std::size_t count, std::mt19937& chance) {
  std::normal_distribution<float> values;
  std::vector<T> host(count);
  for (T& value : host) value = from_float<T>(values(chance));
  cuda::copy_bytes(to, host.data(), count * sizeof(T), nullptr);
  cuda::Stream::wait_for(nullptr);
}

// What prepared frames look like to a network. With zeros one of random weights computes hardly anything but
// zeros, and multiplying those takes the GPU less power, and so less time.
void fill_inputs(const DeviceEngine& engine, const Bundle& bundle) {
  std::mt19937 chance(0);
  for (std::size_t i = 0; i < bundle.segment.inputs.size(); ++i) {
    const bool half = engine.input_type(i) == TensorType::f16;
    (half ? write_noise<Half> : write_noise<float>)(engine.input(i), values_of(bundle.segment.inputs[i]),
                                                    chance);
  }
}

// Runs of the network that follow one another without frames around them, each put on a stream by `run`.
json runs_alone(int runs, const cuda::Stream& stream, const std::function<void(cuda::StreamHandle)>& run) {
  Laps laps(runs);
  std::vector<double> taken;
  for (int round = -1; round < kRounds; ++round) {
    laps.begin(stream.handle());
    for (int i = 0; i < runs; ++i) {
      run(stream.handle());
      laps.mark(stream.handle());
    }
    stream.wait();
    const auto found = laps.microseconds();
    if (round >= 0) taken.insert(taken.end(), found.begin(), found.end());
  }
  return spread(std::move(taken));
}

json network_alone(const Setting& setting) {
  const auto engine = setting.engine();
  fill_inputs(*engine, setting.bundle);
  const cuda::Stream stream;
  return runs_alone(setting.frames, stream, [&](cuda::StreamHandle on) { engine->enqueue(on); });
}

// As frames run it where graphs are on: what they take is compared with this, which is launched as they are.
json network_in_a_graph(const Setting& setting) {
  const auto engine = setting.engine();
  fill_inputs(*engine, setting.bundle);
  const cuda::Stream stream;
  engine->enqueue(stream.handle());  // what is loaded at a first run cannot be recorded
  stream.wait();
  cuda::Graph graph;
  try {
    graph.capture(stream.handle(), [&](cuda::StreamHandle on) { engine->enqueue(on); });
  } catch (const Error& why) {  // frames then enqueue it call by call, too
    return {{"reason", why.what()}};
  }
  return runs_alone(setting.frames, stream, [&](cuda::StreamHandle on) { graph.launch(on); });
}

using Add = std::function<void(const std::string& row, json found)>;

void measure(const Setting& setting, const Add& add) {
  add("network alone", network_alone(setting));
  add("network alone, in a graph", network_in_a_graph(setting));
  for (const std::string schedule : {"every", "fixed:5"}) {
    add(schedule + ", GPU to GPU", resident(setting, {.schedule = schedule}));
    add(schedule + ", GPU to GPU, no graphs", resident(setting, {.schedule = schedule, .graphs = false}));
    add(schedule + ", host to host", pipelined(setting, {.schedule = schedule}));
  }
  // The GPU's clock may have changed since: frames are compared with both.
  add("network alone, in a graph, again", network_in_a_graph(setting));
  // The defaults: whoever changes nothing gets these.
  for (const std::string schedule : {"fixed:5", "adaptive"}) {
    add(schedule + ", GPU to GPU, scene cuts",
        resident(setting, {.schedule = schedule, .scene_cuts = true, .rounds = kFewRounds}));
  }
}

// A bundle whose network nobody runs.
class EmptyBundle {
 public:
  explicit EmptyBundle(Size size)
      : folder_(std::filesystem::temp_directory_path() / "stpl_rt_cuda_pipeline") {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "segment.onnx") << "none";
    json classes = json::array();
    for (int c = 0; c < kClasses; ++c) {
      classes.push_back({{"name", "class " + std::to_string(c)}, {"color", {c, c, c}}});
    }
    const int width = size.width / 4, height = size.height / 4;
    const json manifest = {
        {"schema_version", 1},
        {"name", "empty"},
        {"classes", classes},
        {"ignore_id", 255},
        {"input",
         {{"width", size.width},
          {"height", size.height},
          {"color_order", "rgb"},
          {"mean", {0, 0, 0}},
          {"std", {1, 1, 1}},
          {"resize", "stretch"},
          {"filter", "bilinear"}}},
        {"logits", {{"width", width}, {"height", height}, {"align_corners", false}}},
        {"networks",
         {{"segment",
           {{"file", "segment.onnx"},
            {"sha256", sha256_file(folder_ / "segment.onnx")},
            {"inputs",
             {{{"name", "image"}, {"shape", {1, 3, size.height, size.width}}, {"type", "float32"}}}},
            {"outputs",
             {{{"name", "logits"}, {"shape", {1, kClasses, height, width}}, {"type", "float32"}}}}}}}}};
    std::ofstream(folder_ / "manifest.json") << manifest.dump();
  }
  ~EmptyBundle() {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }
  EmptyBundle(const EmptyBundle&) = delete;
  EmptyBundle& operator=(const EmptyBundle&) = delete;
  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }

 private:
  static constexpr int kClasses = 19;
  std::filesystem::path folder_;
};

Add of(bench::Figures& figures, Size size) {
  return [&figures, size](const std::string& row, json found) {
    figures.add(bench::name_of(size), row, std::move(found));
  };
}

void without_network(int frames, bench::Figures& figures) {
  for (const Size size : {Size{512, 256}, Size{1024, 512}, Size{2048, 1024}}) {
    const EmptyBundle empty(size);
    const Bundle bundle = Bundle::open(empty.folder());
    const Drive drive(size);
    measure({bundle, [&] { return std::make_unique<NoNetwork>(bundle); }, drive, frames}, of(figures, size));
  }
}

void with_network(const std::string& folder, const std::string& precision, int frames,
                  bench::Figures& figures) {
  const Bundle bundle = Bundle::open(folder);
  const Size size{bundle.input.width, bundle.input.height};
  const Drive drive(size);
  const auto network =
      compile_network(bundle.segment, "cuda", parse_precision(precision), 1, {.build = true});
  measure({bundle, [&] { return network->make_device_engine(); }, drive, frames}, of(figures, size));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bench::Arguments arguments(argc, argv);
    const int asked = std::atoi(arguments.at(2, "40").c_str());
    const int frames = std::max(2 * kBurst, asked / kBurst * kBurst);
    const cuda::DeviceScope scope(0);
    bench::Figures figures(arguments.file);
    const std::string bundle = arguments.at(0, "");
    if (bundle.empty()) {
      without_network(frames, figures);
    } else {
      with_network(bundle, arguments.at(1, "f16"), frames, figures);
    }
    figures.end();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stpl_rt_cuda_pipeline: %s\n", error.what());
    return 1;
  }
  return 0;
}
