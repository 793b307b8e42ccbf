// Times the kernels for GPUs on the GPU that is here: JSON to standard output, or to a file as it goes.
// Run: stpl_rt_cuda_bench [DEVICE] [--json FILE]   Of each kernel two times, launches included: that of
// single calls, each between events of its own, with their tail; and of batches, calls that follow one
// another between two events, the mean of a batch's, which is the throughput and has no call's tail.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/cuda/device.h"
#include "core/cuda/graph.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "core/half.h"
#include "figures.h"
#include "flow/dis_cuda.h"
#include "flow/pyramid_cuda.h"
#include "ops/compose_cuda.h"
#include "ops/preprocess_cuda.h"
#include "ops/sample_argmax_cuda.h"

namespace {

using namespace stpl_rt;        // NOLINT(google-build-using-namespace): a program of its own
using namespace stpl_rt::cuda;  // NOLINT(google-build-using-namespace)
using json = nlohmann::json;

constexpr int kCalls = 20;  // of a batch
constexpr int kRounds = 51;
constexpr int kWarmUps = 3;

using Call = std::function<void()>;
using Timed = std::function<void(const std::string& row, const Call& call)>;

struct Interval {
  Event begin{Event::Timing::on}, end{Event::Timing::on};
  [[nodiscard]] double microseconds() const { return 1e3 * end.milliseconds_since(begin); }
};

// Of a call in each of many batches.
std::vector<double> means_of_batches(const cuda::Stream& stream, const Call& call) {
  Interval batch;
  std::vector<double> means;
  for (int round = -kWarmUps; round < kRounds; ++round) {
    batch.begin.record(stream.handle());
    for (int i = 0; i < kCalls; ++i) call();
    batch.end.record(stream.handle());
    batch.end.wait();
    if (round >= 0) means.push_back(batch.microseconds() / kCalls);
  }
  std::sort(means.begin(), means.end());
  return means;
}

std::vector<double> single_calls(const cuda::Stream& stream, const Call& call) {
  std::vector<Interval> intervals(kCalls);
  std::vector<double> calls;
  for (int round = -kWarmUps; round < kRounds; ++round) {
    for (Interval& interval : intervals) {
      interval.begin.record(stream.handle());
      call();
      interval.end.record(stream.handle());
    }
    stream.wait();
    if (round < 0) continue;
    for (const Interval& interval : intervals) calls.push_back(interval.microseconds());
  }
  std::sort(calls.begin(), calls.end());
  return calls;
}

json times_of(const cuda::Stream& stream, const Call& call) {
  const std::vector<double> means = means_of_batches(stream, call);
  const std::vector<double> calls = single_calls(stream, call);
  return {{"single call",
           {{"number", calls.size()},
            {"p50_us", calls[calls.size() / 2]},
            {"p99_us", calls[calls.size() * 99 / 100]},
            {"least_us", calls.front()}}},
          {"mean of a batch",
           {{"number", means.size()},
            {"calls", kCalls},
            {"p50_us", means[means.size() / 2]},
            {"least_us", means.front()}}}};
}

// Smooth in space, as networks' logits are, with edges of things between.
template <class T>
std::vector<T> logits_of_a_street(int classes, Size size) {
  std::vector<T> values(static_cast<std::size_t>(classes) * size.width * size.height);
  std::size_t i = 0;
  for (int c = 0; c < classes; ++c) {
    for (int y = 0; y < size.height; ++y) {
      for (int x = 0; x < size.width; ++x) {
        const int thing = (x / 23 + 7 * (y / 17)) % classes;
        const float ripple = 0.01F * static_cast<float>((x * 31 + y * 17 + c * 13) % 97);
        values[i++] = from_float<T>((thing == c ? 4.F : 0.F) + ripple);
      }
    }
  }
  return values;
}

std::vector<std::uint8_t> texture(Size size, int shift) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(size.width) * size.height);
  std::size_t i = 0;
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      const int u = (x + shift) / 3, v = y / 3;
      pixels[i++] = static_cast<std::uint8_t>((u * 57 + v * 131 + (u * v) % 211) % 256);
    }
  }
  return pixels;
}

template <class T>
DeviceBuffer<T> upload(const std::vector<T>& host, const cuda::Stream& stream) {
  DeviceBuffer<T> device;
  device.reserve(host.size());
  copy(device.data(), host.data(), host.size(), stream.handle());
  stream.wait();
  return device;
}

// Smooth vectors of 2 to 8 pixels, every way: what is read lies elsewhere than what is written, as in video.
DeviceFlow swirls(Size size, const cuda::Stream& stream) {
  std::vector<float> dx, dy;
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      const auto u = static_cast<float>(x), v = static_cast<float>(y);
      const float length = 5 + 3 * std::sin(u / 67 - v / 41);
      const float angle = u / 97 + v / 61;
      dx.push_back(length * std::cos(angle));
      dy.push_back(length * std::sin(angle));
    }
  }
  DeviceFlow flow;
  flow.resize(size.width, size.height);
  copy(flow.planes().dx, {dx.data(), size.width, size.height, size.width}, stream.handle());
  copy(flow.planes().dy, {dy.data(), size.width, size.height, size.width}, stream.handle());
  stream.wait();
  return flow;
}

// 19 classes from a quarter of the size, half precision: the case that the project's bar is set for. Streams
// search their flow at the size of the network's input, which is that of the labels here; one of half the
// size is read by more pixels each.
void sampling(const cuda::Stream& stream, const Timed& timed) {
  constexpr int kClasses = 19;
  constexpr Size kLogits{512, 256}, kOutput{2048, 1024};
  const auto planes = upload(logits_of_a_street<Half>(kClasses, kLogits), stream);
  InputSpec spec;
  spec.width = kOutput.width;
  spec.height = kOutput.height;
  const Geometry geometry = make_geometry(kOutput, spec, {kLogits.width, kLogits.height, false});
  const cuda::PlanarLogits<Half> planar{planes.data(), kClasses, kLogits.width, kLogits.height};
  DeviceBuffer<Half> packed_memory;
  packed_memory.reserve(packed_size(kClasses, kLogits.width, kLogits.height));
  const auto packed = pack_logits(planar, packed_memory.data(), stream.handle());
  DeviceImage<std::uint8_t> labels, confidence;
  labels.resize(kOutput.width, kOutput.height);
  confidence.resize(kOutput.width, kOutput.height);
  const StreamHandle s = stream.handle();
  timed("plain", [&] { sample_argmax(planar, geometry, labels.view(), {}, s); });
  timed("plain, with confidence",
        [&] { sample_argmax(planar, geometry, labels.view(), confidence.view(), s); });
  for (const Size size : {kOutput, Size{1024, 512}}) {
    const DeviceFlow flow = swirls(size, stream);
    const std::string name = "with flow of up to 8 pixels, " + bench::name_of(size);
    timed(name, [&] { sample_argmax(packed, geometry, flow.cplanes(), {}, labels.view(), {}, s); });
    timed(name + ", with confidence",
          [&] { sample_argmax(packed, geometry, flow.cplanes(), {}, labels.view(), confidence.view(), s); });
  }
  timed("pack", [&] { pack_logits(planar, packed_memory.data(), s); });
}

// Of its many launches the host's time is the larger part where they are not recorded: frames run them from a
// graph.
void flow_at(Size size, int finest_scale, const cuda::Stream& stream, const Timed& timed) {
  const auto current = upload(texture(size, 0), stream);
  const auto past = upload(texture(size, 5), stream);
  const auto view = [&](const DeviceBuffer<std::uint8_t>& pixels) {
    return ImageView<const std::uint8_t>{pixels.data(), size.width, size.height, size.width};
  };
  cuda::DisFlow dis({.finest_scale = finest_scale});
  dis.prepare(size);
  cuda::Pyramid pyramids[2];
  for (auto& pyramid : pyramids) pyramid.prepare(dis.layout(size));
  pyramids[1].build(view(past), stream.handle());
  DeviceFlow flow, composed, kept;
  for (DeviceFlow* field : {&flow, &composed, &kept}) field->resize(size.width, size.height);
  kept.fill_zero(stream.handle());
  DeviceImage<float> validity;
  validity.resize(size.width, size.height);
  const StreamHandle s = stream.handle();
  const auto pyramid_and_flow = [&](StreamHandle on) {
    pyramids[0].build(view(current), on);
    dis.compute(pyramids[0], pyramids[1], flow.planes(), on);
  };
  timed("pyramid", [&] { pyramids[0].build(view(current), s); });
  timed("flow", [&] { dis.compute(pyramids[0], pyramids[1], flow.planes(), s); });
  timed("pyramid + flow", [&] { pyramid_and_flow(s); });
  Graph graph;
  graph.capture(s, pyramid_and_flow);
  timed("pyramid + flow, in a graph", [&] { graph.launch(s); });
  timed("compose", [&] { compose(flow.cplanes(), kept.cplanes(), composed.planes(), s); });
  timed("validity", [&] {
    cuda::validity(view(current), view(past), flow.cplanes(), {}, composed.cplanes(), validity.view(), s);
  });
}

void input(const cuda::Stream& stream, const Timed& timed) {
  constexpr Size kFrame{1920, 1080};
  const auto pixels = upload(texture({kFrame.width, kFrame.height * 3 / 2}, 0), stream);
  Frame frame;
  frame.data = pixels.data();
  frame.width = kFrame.width;
  frame.height = kFrame.height;
  frame.format = PixelFormat::nv12;
  InputSpec spec;
  spec.width = 1024;
  spec.height = 512;
  FramePlan plan;
  plan.prepare(kFrame, spec, {spec.width, spec.height}, stream.handle());
  DeviceBuffer<Half> out;
  out.reserve(std::size_t{3} * spec.width * spec.height);
  DeviceImage<std::uint8_t> luma;
  luma.resize(spec.width, spec.height);
  const StreamHandle s = stream.handle();
  timed("preprocess", [&] { preprocess(frame, plan, out.data(), s); });
  timed("luma", [&] { cuda::luma(frame, plan, luma.view(), s); });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bench::Arguments arguments(argc, argv);
    const DeviceScope scope(std::atoi(arguments.at(0, "0").c_str()));
    const cuda::Stream stream;
    bench::Figures figures(arguments.file);
    const auto of = [&](const std::string& group) -> Timed {
      return [&figures, &stream, group](const std::string& row, const Call& call) {
        figures.add(group, row, times_of(stream, call));
      };
    };
    sampling(stream, of("sample + argmax, 19 classes, 512x256 to 2048x1024, f16"));
    for (const int level : {1, 2}) {  // streams search to level 1
      flow_at({1024, 512}, level, stream, of("flow at 1024x512, finest level " + std::to_string(level)));
    }
    input(stream, of("NV12 1920x1080 to 1024x512, f16"));
    figures.end();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "stpl_rt_cuda_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
