// A stream that lets its results go allocates nothing of ours once each kind of frame has been through.
// Networks are OpenVINO's, behind a wrapper that says when a thread is inside of them, or none, where several
// threads of ours are counted.
#include "allocations.h"

#if defined(STPL_RT_COUNTS_ALLOCATIONS)

#include <map>
#include <memory>
#include <new>
#include <set>

#include "core/thread_pool.h"
#include "engine/engine.h"
#include "plain_engine.h"
#include "segmenter/background.h"
#include "segmenter/video_stream.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

class WatchedEngine final : public Engine {
 public:
  explicit WatchedEngine(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
  [[nodiscard]] std::span<float> input(std::size_t index) noexcept override { return engine_->input(index); }
  std::span<const float> infer() override {
    count_on_this_thread();  // it is a stream's
    const InsideEngine inside;
    return engine_->infer();
  }
  void start() override {
    count_on_this_thread();
    const InsideEngine inside;
    engine_->start();
  }
  std::span<const float> wait() override {
    const InsideEngine inside;
    return engine_->wait();
  }
  void cancel() noexcept override {
    const InsideEngine inside;
    engine_->cancel();
  }

 private:
  const std::unique_ptr<Engine> engine_;
};

class WatchedNetwork final : public CompiledNetwork {
 public:
  explicit WatchedNetwork(const NetworkSpec& spec)
      : network_(compile_network(spec, "cpu", Precision::f32, 1)) {}
  [[nodiscard]] std::unique_ptr<Engine> make_engine() const override {
    return std::make_unique<WatchedEngine>(network_->make_engine());
  }

 private:
  const std::shared_ptr<const CompiledNetwork> network_;
};

SegmenterOptions scheduled(const std::string& schedule, int key_lag = 0) {
  return {.schedule = Schedule::parse(schedule), .threads = 1, .confidence = true, .key_lag = key_lag};
}

// As a Segmenter makes it, but for the wrappers.
class WatchedStream {
 public:
  WatchedStream(const std::string& bundle, const SegmenterOptions& options)
      : bundle_(Bundle::open(made_bundle(bundle))) {
    StreamNetworks networks;
    networks.segment = std::make_shared<WatchedNetwork>(bundle_.segment);
    if (options.fuse) networks.fuse = std::make_shared<WatchedNetwork>(*bundle_.fuse);
    if (options.update) networks.update = std::make_shared<WatchedNetwork>(*bundle_.update);
    stream_ = make_stream(bundle_, options, networks);
  }
  VideoStream& operator*() const { return *stream_; }
  VideoStream* operator->() const { return stream_.get(); }

 private:
  const Bundle bundle_;
  std::unique_ptr<VideoStream> stream_;
};

struct Input {
  Frame frame;
  FrameInfo info;
};

// Of a drive, slow and fast by turns, in two sizes.
const Picture& picture(int t, bool small = false) {
  static std::map<std::pair<int, bool>, Picture> made;
  const auto [place, fresh] = made.try_emplace({t, small}, 1, 1);
  const double left = 2.0 * t + 8.0 * (t / 4);
  if (fresh) place->second = small ? textured_picture(200, 120, left) : textured_picture(400, 240, left);
  return place->second;
}

constexpr int kFrames = 24;

// There and back, so that it can go on from its end.
std::vector<Input> drive() {
  std::vector<Input> inputs;
  for (int t = 0; t < kFrames; ++t) {
    inputs.push_back({picture(t < kFrames / 2 ? t : kFrames - 1 - t).frame(), {}});
  }
  return inputs;
}

std::vector<Input> drive_with_flow() {
  static const std::vector<float> zeros(std::size_t{2} * 20 * 12, 0.F);
  std::vector<Input> inputs = drive();
  for (Input& input : inputs) input.info.flow = {.data = zeros.data(), .width = 20, .height = 12};
  return inputs;
}

struct Steady {
  int allocations = 0;
  std::multiset<KeyReason> reasons;  // of the frames that were counted
};

// The second time through the inputs.
Steady steady(WatchedStream& stream, const std::vector<Input>& inputs) {
  for (const Input& input : inputs) (void)stream->push(input.frame, input.info);
  std::vector<KeyReason> reasons;
  reasons.reserve(inputs.size());
  count_on_this_thread();
  start_counting();
  for (const Input& input : inputs) reasons.push_back(stream->push(input.frame, input.info).key_reason);
  const int allocations = stop_counting();
  return {allocations, {reasons.begin(), reasons.end()}};
}

Steady steady(const std::string& bundle, const SegmenterOptions& options) {
  WatchedStream stream(bundle, options);
  return steady(stream, drive());
}

TEST(Allocations, EveryFrameAKeyFrame) {
  const Steady found = steady("coarse", scheduled("every"));
  EXPECT_EQ(found.allocations, 0);
  EXPECT_EQ(found.reasons.count(KeyReason::schedule), 24U);
}

TEST(Allocations, KeyFramesByTurns) {
  for (const char* schedule : {"fixed:2", "fixed:5", "adaptive:99:3"}) {
    const Steady found = steady("coarse", scheduled(schedule));
    EXPECT_EQ(found.allocations, 0) << schedule;
    EXPECT_GT(found.reasons.count(KeyReason::schedule), 3U) << schedule;
    EXPECT_GT(found.reasons.count(KeyReason::none), 11U) << schedule;
  }
}

TEST(Allocations, KeyFramesWhereThePictureDrifts) {
  const Steady found = steady("coarse", scheduled("adaptive:0.3:100"));
  EXPECT_EQ(found.allocations, 0);
  EXPECT_GT(found.reasons.count(KeyReason::drift), 1U);
  EXPECT_GT(found.reasons.count(KeyReason::none), 1U);
}

TEST(Allocations, NetworksThatAreLate) {
  for (const char* schedule : {"fixed:4", "adaptive:0.3:5"}) {
    const Steady found = steady("coarse", scheduled(schedule, 2));
    EXPECT_EQ(found.allocations, 0) << schedule;
    EXPECT_GT(found.reasons.count(KeyReason::none), 11U) << schedule;
    EXPECT_GT(found.reasons.size() - found.reasons.count(KeyReason::none), 3U) << schedule;
  }
}

TEST(Allocations, AccelMode) {
  for (const auto& [fuse, update] : {std::pair{true, false}, {false, true}, {true, true}}) {
    SegmenterOptions options = scheduled("fixed:3");
    options.fuse = fuse;
    options.update = update;
    EXPECT_EQ(steady("accel", options).allocations, 0) << fuse << update;
  }
  SegmenterOptions options = scheduled("every");
  options.fuse = true;
  EXPECT_EQ(steady("accel", options).allocations, 0);
  options = scheduled("fixed:4", 2);
  options.update = true;
  EXPECT_EQ(steady("accel", options).allocations, 0);
}

// Whatever a frame needs memory for the first time, and whichever of it there is none for.
TEST(Allocations, ThatFailLeaveTheStreamAsItWas) {
  const std::vector<Input> inputs = drive();
  const SegmenterOptions options = scheduled("fixed:9");
  WatchedStream whole("coarse", options);
  std::vector<Result> expected;
  for (int t = 0; t < 4; ++t) expected.push_back(whole->push(inputs[t].frame, inputs[t].info));
  int failures = 0;
  for (bool failed = true; failed; ++failures) {
    SCOPED_TRACE("allocation " + std::to_string(failures));
    WatchedStream stream("coarse", options);
    failed = false;
    for (int t = 0; t < 4; ++t) {
      if (t == 1) fail_allocation_after(failures);
      Result found;
      try {
        found = stream->push(inputs[t].frame, inputs[t].info);
      } catch (const std::bad_alloc&) {
        failed = true;
        found = stream->push(inputs[t].frame, inputs[t].info);
      }
      fail_allocation_after(-1);
      EXPECT_EQ(found.labels, expected[t].labels) << t;
      EXPECT_EQ(found.confidence, expected[t].confidence) << t;
      EXPECT_EQ(found.age, t);
    }
  }
  EXPECT_GT(failures, 5);
}

TEST(Allocations, FlowFromElsewhere) {
  WatchedStream stream("coarse", scheduled("fixed:3"));
  EXPECT_EQ(steady(stream, drive_with_flow()).allocations, 0);
}

// Frames that begin anew, with key_lag in the middle of a late network's run: it starts on the fifth frame of
// an interval.
TEST(Allocations, GapsAndOtherSizes) {
  std::vector<Input> inputs = drive();
  double seconds = 0;
  for (int t = 0; t < kFrames; ++t) {
    Input& input = inputs[static_cast<std::size_t>(t)];
    seconds += t % 11 == 5 ? 1 : 0.04;
    input.info.timestamp = seconds;
    if (t % 11 == 10) input.frame = picture(t, true).frame();
  }
  for (const int key_lag : {0, 2}) {
    WatchedStream stream("coarse", scheduled("fixed:4", key_lag));
    const Steady found = steady(stream, inputs);
    EXPECT_EQ(found.allocations, 0) << key_lag;
    EXPECT_EQ(found.reasons.count(KeyReason::schedule), 4U);
    EXPECT_EQ(found.reasons.count(KeyReason::gap), 3U);
    EXPECT_EQ(found.reasons.count(KeyReason::size_change), 4U);
  }
}

// Puts the drive through a queue of at most `depth` frames, whose results are let go at once, or held until
// there are more than the queue's and one in the hands of whoever collects.
template <class Submit, class Queue>
void put_through(const Submit& submit, Queue& queue, std::size_t depth, std::vector<Result>* held) {
  const auto collect = [&] {
    Result result = queue.collect();
    if (held == nullptr) return;
    if (held->size() > depth + 1) held->clear();
    held->push_back(std::move(result));
  };
  static const std::vector<Input> inputs = drive_with_flow();
  for (const Input& input : inputs) {
    submit(input);
    if (queue.pending() == depth) collect();
  }
  while (queue.pending() > 0) collect();
}

template <class Submit, class Queue>
int queue_allocations(const Submit& submit, Queue& queue, std::size_t depth, Threads threads) {
  {
    std::vector<Result> held;
    put_through(submit, queue, depth, &held);
  }
  count_on_this_thread();
  start_counting(threads);
  put_through(submit, queue, depth, nullptr);
  return stop_counting();
}

TEST(Allocations, AQueue) {
  constexpr int kDepth = 3;
  for (const int key_lag : {0, 2}) {
    const WatchedStream stream("coarse", scheduled("fixed:4", key_lag));
    Background queue(*stream, kDepth);
    const auto submit = [&](const Input& input) {
      (void)queue.submit(input.frame, input.info, nullptr, std::nullopt);
    };
    EXPECT_EQ(queue_allocations(submit, queue, kDepth, Threads::ours), 0) << key_lag;
  }
}

// The same by the door that users take; where no network runs, all threads are ours.
TEST(Allocations, PropagatedFramesOfASegmenter) {
  for (const char* schedule : {"fixed:50", "adaptive:99:50"}) {
    Segmenter segmenter(made_bundle("coarse"), scheduled(schedule));
    const std::vector<Input> inputs = drive();
    for (const Input& input : inputs) (void)segmenter.push(input.frame, input.info);
    start_counting(Threads::all);
    bool is_key = false;
    for (const Input& input : inputs) is_key |= segmenter.push(input.frame, input.info).is_key;
    EXPECT_EQ(stop_counting(), 0) << schedule;
    EXPECT_FALSE(is_key);
  }
}

TEST(Allocations, PropagatedFramesThroughASegmentersQueue) {
  SegmenterOptions options = scheduled("fixed:50");
  options.queue = 2;
  options.scene_cuts = false;  // flow that says that nothing moves
  Segmenter segmenter(made_bundle("coarse"), options);
  const auto submit = [&](const Input& input) { segmenter.submit(input.frame, input.info); };
  EXPECT_EQ(queue_allocations(submit, segmenter, 2, Threads::all), 0);
}

// A network that is none, without a thread of its own or an allocation: all that is counted is ours.
class FixedEngine final : public PlainEngine {
 public:
  explicit FixedEngine(const NetworkSpec& spec) : PlainEngine(spec) {
    for (std::size_t i = 0; i < output_.size(); ++i) output_[i] = static_cast<float>(i * 37 % 101);
  }
  std::span<const float> infer() override { return output_; }
};

class FixedNetwork final : public CompiledNetwork {
 public:
  explicit FixedNetwork(NetworkSpec spec) : spec_(std::move(spec)) {}
  [[nodiscard]] std::unique_ptr<Engine> make_engine() const override {
    return std::make_unique<FixedEngine>(spec_);
  }

 private:
  const NetworkSpec spec_;
};

std::unique_ptr<VideoStream> stream_without_network(const Bundle& bundle, const SegmenterOptions& options) {
  return make_stream(
      bundle, options,
      {.segment = std::make_shared<FixedNetwork>(bundle.segment), .fuse = nullptr, .update = nullptr});
}

// The drive, its pixels taken for those of another format.
std::vector<Input> drive_as(PixelFormat format) {
  std::vector<Input> inputs = drive();
  for (Input& input : inputs) input.frame.format = format;
  return inputs;
}

// Which of two threads takes a piece is chance; here each takes all in turn, so that the scratch memory of
// both has grown to what it will be. Then nothing is allocated, whoever takes what.
int allocations_on_two_threads(VideoStream& stream, const std::vector<Input>& inputs) {
  const auto push_all = [&](ThreadPool::Takers takers) {
    ThreadPool::let_take(takers);
    for (const Input& input : inputs) (void)stream.push(input.frame, input.info);
    ThreadPool::let_take(ThreadPool::Takers::all);
  };
  push_all(ThreadPool::Takers::workers);
  push_all(ThreadPool::Takers::caller);
  start_counting(Threads::all);
  for (const auto takers : {ThreadPool::Takers::workers, ThreadPool::Takers::caller, ThreadPool::Takers::all,
                            ThreadPool::Takers::all, ThreadPool::Takers::all}) {
    push_all(takers);
  }
  return stop_counting();
}

struct Preparation {
  const char* name;
  void (*change)(nlohmann::json& input);
};

constexpr Preparation kPreparations[] = {
    {"stretched", [](nlohmann::json&) {}},
    {"letterbox", [](nlohmann::json& input) { input["resize"] = "letterbox"; }},
    {"area", [](nlohmann::json& input) { input["filter"] = "area"; }},
    {"look-up table",
     [](nlohmann::json& input) {
       for (int c = 0; c < 3; ++c) {
         for (int i = 0; i < 256; ++i) input["lut"][c][i] = 255 - i;
       }
     }},
};

TEST(Allocations, OfAnyFormatAndPreparationOnTwoThreads) {
  for (const auto& [name, change] : kPreparations) {
    const TemporaryFolder folder;
    const fs::path changed =
        changed_bundle(folder, "coarse", [&](nlohmann::json& manifest) { change(manifest["input"]); });
    const Bundle bundle = Bundle::open(changed);
    for (const PixelFormat format :
         {PixelFormat::rgb, PixelFormat::bgr, PixelFormat::gray, PixelFormat::nv12, PixelFormat::i420}) {
      SegmenterOptions options = scheduled("fixed:4");
      options.threads = 2;
      options.scene_cuts = false;
      const auto stream = stream_without_network(bundle, options);
      EXPECT_EQ(allocations_on_two_threads(*stream, drive_as(format)), 0)
          << name << ", format " << static_cast<int>(format);
    }
  }
}

TEST(Allocations, OfAnyScheduleOnTwoThreads) {
  const Bundle bundle = Bundle::open(made_bundle("coarse"));
  for (const auto& [schedule, key_lag] : {std::pair{"every", 0},
                                          {"fixed:1000", 0},
                                          {"fixed:4", 2},
                                          {"adaptive:0.3:5", 0},
                                          {"adaptive:0.3:5", 2}}) {
    SegmenterOptions options = scheduled(schedule, key_lag);
    options.threads = 2;
    options.flow_check = true;
    const auto stream = stream_without_network(bundle, options);
    EXPECT_EQ(allocations_on_two_threads(*stream, drive()), 0) << schedule << " " << key_lag;
  }
  SegmenterOptions options = scheduled("fixed:3");
  options.threads = 2;
  const auto stream = stream_without_network(bundle, options);
  EXPECT_EQ(allocations_on_two_threads(*stream, drive_with_flow()), 0);
}

// More results than a short queue's are on their way, all of them held at once.
TEST(Allocations, ALongQueue) {
  constexpr int kDepth = 150;
  const Bundle bundle = Bundle::open(made_bundle("half_pixel"));
  SegmenterOptions options = scheduled("every");
  options.queue = kDepth;
  const auto stream = stream_without_network(bundle, options);
  Background queue(*stream, kDepth);
  const Picture small = textured_picture(40, 30);
  const auto put_through_all = [&](bool waits) {
    for (int t = 0; t < kDepth; ++t) (void)queue.submit(small.frame(), {}, nullptr, std::nullopt);
    if (waits) queue.wait();
    for (int t = 0; t < kDepth; ++t) (void)queue.collect();
  };
  put_through_all(true);
  start_counting(Threads::all);
  put_through_all(true);
  put_through_all(false);
  EXPECT_EQ(stop_counting(), 0);
}

}  // namespace
}  // namespace stpl_rt::test
#endif
