// A late network (key_lag) that is given up: what it costs, and that nothing else changes.
#include <memory>
#include <utility>

#include "engine/engine.h"
#include "segmenter/video_stream.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

// What became of the runs of a network.
struct Runs {
  int whole = 0;
  int cancelled = 0;
};

// As slow as can be: what is started runs when it is waited for, unless it was cancelled before.
class LastMomentEngine final : public Engine {
 public:
  LastMomentEngine(std::unique_ptr<Engine> engine, Runs& runs) : engine_(std::move(engine)), runs_(runs) {}
  [[nodiscard]] std::span<float> input(std::size_t index) noexcept override { return engine_->input(index); }
  std::span<const float> infer() override {
    ++runs_.whole;
    return engine_->infer();
  }
  void start() override { is_cancelled_ = false; }
  std::span<const float> wait() override {
    if (!is_cancelled_) return infer();
    throw Error(ErrorCode::engine, "cancelled");
  }
  void cancel() noexcept override {
    is_cancelled_ = true;
    ++runs_.cancelled;
  }

 private:
  const std::unique_ptr<Engine> engine_;
  Runs& runs_;
  bool is_cancelled_ = false;
};

class LastMomentNetwork final : public CompiledNetwork {
 public:
  LastMomentNetwork(const NetworkSpec& spec, Runs& runs)
      : network_(compile_network(spec, "cpu", Precision::f32, 1)), runs_(runs) {}
  [[nodiscard]] std::unique_ptr<Engine> make_engine() const override {
    return std::make_unique<LastMomentEngine>(network_->make_engine(), runs_);
  }

 private:
  const std::shared_ptr<const CompiledNetwork> network_;
  Runs& runs_;
};

constexpr double kFrame = 0.1;  // seconds

class LateNetwork : public testing::Test {
 protected:
  // Six frames: the network of the first has run, that of the last is on its way.
  void SetUp() override {
    stream_ = make_stream(bundle_, options_, {.segment = network_, .fuse = nullptr, .update = nullptr});
    for (int t = 0; t < 6; ++t) last_ = push(textured_picture(320, 192, 2 * t));
    ASSERT_TRUE(last_.is_key);
    ASSERT_EQ(last_.age, 5);
    ASSERT_EQ(runs_.whole, 1);
  }
  Result push(const Picture& picture, double gap = kFrame) {
    seconds_ += gap;
    return stream_->push(picture.frame(), {.timestamp = seconds_, .flow = {}});
  }
  // One run more for the frame that begins anew, none for what is of no use; all that follows is as of a
  // stream that begins with it.
  void expect_one_run(const Result& found, KeyReason reason, const std::vector<Picture>& video) {
    EXPECT_EQ(found.key_reason, reason);
    EXPECT_EQ(runs_.whole, 2);
    EXPECT_GE(runs_.cancelled, 1);
    Segmenter fresh(bundle_, options_);
    EXPECT_EQ(found.labels, fresh.push(video[0].frame()).labels);
    for (std::size_t i = 1; i < video.size(); ++i) {
      const Result expected = fresh.push(video[i].frame()), next = push(video[i]);
      EXPECT_EQ(next.labels, expected.labels) << "frame " << i;
      EXPECT_EQ(next.age, expected.age) << "frame " << i;
      EXPECT_EQ(next.is_key, expected.is_key) << "frame " << i;
    }
    EXPECT_EQ(runs_.whole, 3);  // the next late one was adopted
  }

  const Bundle bundle_ = Bundle::open(made_bundle("coarse"));
  const SegmenterOptions options_{.schedule = Schedule::fixed(5), .threads = 1, .key_lag = 3};
  Runs runs_;
  const std::shared_ptr<const CompiledNetwork> network_ =
      std::make_shared<LastMomentNetwork>(bundle_.segment, runs_);
  std::unique_ptr<VideoStream> stream_;
  Result last_;
  double seconds_ = 0;
};

std::vector<Picture> video(int width, int height) {
  std::vector<Picture> pictures;
  for (int t = 0; t < 10; ++t) pictures.push_back(textured_picture(width, height, 2 * t));
  return pictures;
}

// Of blocks of any colours, which has nothing in common with the textured one.
std::vector<Picture> video_of_blocks() {
  std::vector<Picture> pictures(10, Picture(320, 192));
  for (int t = 0; t < 10; ++t) {
    for (int y = 0; y < 192; ++y) {
      for (int x = 0; x < 3 * 320; ++x) {
        const unsigned block =
            static_cast<unsigned>((x / 3 + 2 * t) / 16 + 31 * (y / 16) + 997 * (x % 3) + 1);
        pictures[static_cast<std::size_t>(t)].at(0, y)[x] =
            static_cast<std::uint8_t>((block * 2654435761U) >> 24U);
      }
    }
  }
  return pictures;
}

TEST_F(LateNetwork, ACutCostsOneNetwork) {
  const std::vector<Picture> next = video_of_blocks();
  expect_one_run(push(next[0]), KeyReason::scene_cut, next);
}

TEST_F(LateNetwork, AnotherSizeCostsOneNetwork) {
  const std::vector<Picture> next = video(300, 200);
  expect_one_run(push(next[0]), KeyReason::size_change, next);
}

TEST_F(LateNetwork, AGapCostsOneNetwork) {
  const std::vector<Picture> next = video(320, 192);
  expect_one_run(push(next[0], 9 * kFrame), KeyReason::gap, next);
}

TEST_F(LateNetwork, AResetCostsOneNetwork) {
  const std::vector<Picture> next = video(320, 192);
  stream_->reset();
  EXPECT_EQ(runs_.cancelled, 1);  // at once, not only when the next frame comes
  expect_one_run(push(next[0]), KeyReason::first, next);
}

TEST_F(LateNetwork, ThatIsWaitedForIsAdoptedAndNotCancelled) {
  stream_->wait();
  for (int t = 6; t < 9; ++t) last_ = push(textured_picture(320, 192, 2 * t));
  EXPECT_EQ(last_.age, 3);
  EXPECT_EQ(runs_.cancelled, 0);
}

}  // namespace
}  // namespace stpl_rt::test
