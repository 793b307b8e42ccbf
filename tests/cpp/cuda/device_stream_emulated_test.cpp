// What a stream asks of the device once it is running: no memory, no waiting, and graphs that are used again.
#include "emulation_counts.h"
#include "two_streams.h"

namespace stpl_rt::test {
namespace {

using cuda::emulation::Counts;
using cuda::emulation::counts;

struct Steady {
  Counts before, after;
  [[nodiscard]] int allocations() const { return after.allocations - before.allocations; }
  [[nodiscard]] int waits() const { return after.waits - before.waits; }
  [[nodiscard]] int captures() const { return after.captures - before.captures; }
  [[nodiscard]] int launches() const { return after.launches - before.launches; }
};

constexpr int kWarmUp = 24;
constexpr int kFrames = 24;

// Of frames that lie on the device, whose results are dropped, after a first round of all constellations.
Steady run(const SegmenterOptions& options, const DeviceOptions& device, const char* name = "coarse") {
  const Bundle bundle = Bundle::open(made_bundle(name));
  const HostNetworks networks(bundle, options);
  const auto stream = DeviceStream::make(bundle, options, device, networks.engines());
  std::vector<Picture> pictures;
  for (int t = 0; t < kWarmUp + kFrames; ++t) pictures.push_back(textured_picture(400, 240, t));
  Steady steady;
  for (int t = 0; t < kWarmUp + kFrames; ++t) {
    if (t == kWarmUp) steady.before = counts();
    Frame frame = pictures[static_cast<std::size_t>(t)].frame();
    frame.memory = FrameMemory::device;
    const Result result = stream->push(frame, {});
    // The caller's own wait.
    if (t % 4 == 3) cuda::Stream::wait_for(static_cast<cuda::StreamHandle>(stream->cuda_stream()));
  }
  steady.after = counts();
  steady.after.waits -= kFrames / 4;
  return steady;
}

// Labels that stay on the device, unless said otherwise.
SegmenterOptions loud(const std::string& schedule, int key_lag = 0) {
  SegmenterOptions options = with(schedule, key_lag);
  options.device_labels = true;
  return options;
}
SegmenterOptions quiet(const std::string& schedule, int key_lag = 0) {
  SegmenterOptions options = loud(schedule, key_lag);
  options.scene_cuts = false;
  return options;
}

TEST(SteadyStreams, AllocateNothing) {
  for (const char* schedule : {"every", "fixed:3", "adaptive:0.3:6"}) {
    SCOPED_TRACE(schedule);
    EXPECT_EQ(run(loud(schedule), {}).allocations(), 0);
    EXPECT_EQ(run(with(schedule), {}).allocations(), 0);
  }
  EXPECT_EQ(run(loud("fixed:4", 2), {}).allocations(), 0);
}

TEST(SteadyStreams, WaitOnlyForDecisions) {
  EXPECT_EQ(run(quiet("every"), {}).waits(), 0);
  EXPECT_EQ(run(quiet("fixed:3"), {}).waits(), 0);
  EXPECT_EQ(run(quiet("fixed:4", 2), {}).waits(), 0);
  EXPECT_EQ(run(with("every"), {}).waits(), kFrames);
  EXPECT_EQ(run(loud("fixed:3"), {}).waits(), kFrames * 2 / 3);  // on each frame between key frames
  EXPECT_EQ(run(quiet("adaptive:50:100"), {}).waits(), kFrames);
}

TEST(SteadyStreams, ReplayTheirGraphs) {
  // One a frame, and with a late network one more for it and its input.
  EXPECT_EQ(run(quiet("every"), {}).launches(), kFrames);
  EXPECT_EQ(run(quiet("fixed:3"), {}).launches(), kFrames + kFrames / 3);
  for (const int lag : {0, 2}) {
    const Steady steady = run(quiet("fixed:4", lag), {});
    EXPECT_EQ(steady.captures(), 0);
    EXPECT_GE(steady.launches(), kFrames);
  }
  EXPECT_EQ(run(quiet("fixed:3"), {.graphs = false}).launches(), 0);
}

TEST(SteadyStreams, OfAccelModeTooAllocateNothingAndReplayTheirGraphs) {
  SegmenterOptions options = quiet("fixed:3");
  options.fuse = options.update = true;
  const Steady steady = run(options, {}, "accel");
  EXPECT_EQ(steady.allocations(), 0);
  EXPECT_EQ(steady.captures(), 0);
  EXPECT_EQ(steady.waits(), 0);
}

}  // namespace
}  // namespace stpl_rt::test
