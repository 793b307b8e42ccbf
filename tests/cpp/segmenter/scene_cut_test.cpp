#include "segmenter/scene_cut.h"

#include <random>

#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

constexpr int kWidth = 320, kHeight = 192;

// A street of boxes before sky and ground, the same layout for every seed, different in all details.
class Street {
 public:
  explicit Street(unsigned seed) : gray_(kSide * kTall) {
    std::mt19937 random(seed);
    const auto draw = [&](int low, int high) {
      return static_cast<int>(low + random() % static_cast<unsigned>(high - low));
    };
    for (int y = 0; y < kTall; ++y) {
      for (int x = 0; x < kSide; ++x) at(x, y) = y < kTall / 2 ? 180 : 70;
    }
    for (int box = 0; box < 160; ++box) {
      const int width = draw(10, 90), height = draw(10, 110), left = draw(0, kSide - width),
                bottom = draw(150, 290);
      const int value = draw(30, 220);
      for (int y = bottom - height; y < bottom; ++y) {
        for (int x = left; x < left + width; ++x)
          at(x, y) = value + 12 * std::sin(0.5 * x) * std::sin(0.4 * y + box);
      }
    }
  }

  // The view from (left, top), zoomed about its middle, its brightness scaled, with noise.
  [[nodiscard]] Picture view(double left, double zoom = 1, double gain = 1, double noise = 2,
                             unsigned seed = 1) const {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(0, noise);
    Picture picture(kWidth, kHeight);
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        const double u = left + kWidth / 2 + (x - kWidth / 2) / zoom, v = 160 + (y - kHeight / 2) / zoom;
        const double value = gain * read(u, v) + normal(random);
        for (int c = 0; c < 3; ++c)
          picture.at(x, y)[c] = static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
      }
    }
    return picture;
  }

 private:
  static constexpr int kSide = 1200, kTall = 320;
  double& at(int x, int y) { return gray_[static_cast<std::size_t>(y * kSide + x)]; }
  [[nodiscard]] double read(double u, double v) const {
    const int x = static_cast<int>(u), y = static_cast<int>(v);
    const double a = u - x, b = v - y;
    const double* p = gray_.data() + y * kSide + x;
    return (1 - b) * ((1 - a) * p[0] + a * p[1]) + b * ((1 - a) * p[kSide] + a * p[kSide + 1]);
  }
  std::vector<double> gray_;
};

// The reason for the last of the frames, pushed to a stream whose schedule asks for no key.
KeyReason reason_of_last(const std::vector<Picture>& frames, bool scene_cuts = true) {
  Segmenter segmenter(made_bundle("coarse"),
                      {.schedule = Schedule::fixed(100), .threads = 1, .scene_cuts = scene_cuts});
  KeyReason reason = KeyReason::none;
  for (const Picture& frame : frames) reason = segmenter.push(frame.frame()).key_reason;
  return reason;
}

class SceneCut : public testing::TestWithParam<unsigned> {};

TEST_P(SceneCut, IsNotSeenInFastPansAndZooms) {
  const Street street(GetParam());
  for (const double step : {0.0, 6.0, -16.0, 32.0}) {
    EXPECT_EQ(reason_of_last({street.view(300), street.view(300 + step)}), KeyReason::none) << "pan " << step;
  }
  for (const double zoom : {1.05, 1.15}) {
    EXPECT_EQ(reason_of_last({street.view(300), street.view(300, zoom)}), KeyReason::none) << "zoom " << zoom;
  }
}

TEST_P(SceneCut, IsNotSeenInBrightnessNoiseAndDarkness) {
  const Street street(GetParam());
  for (const double gain : {0.7, 0.85, 1.2}) {
    EXPECT_EQ(reason_of_last({street.view(300), street.view(303, 1, gain)}), KeyReason::none)
        << "gain " << gain;
  }
  EXPECT_EQ(reason_of_last({street.view(300, 1, 1, 8, 1), street.view(303, 1, 1, 8, 2)}), KeyReason::none);
  // All but black: nothing but noise to see.
  EXPECT_EQ(reason_of_last({street.view(300, 1, 0.05, 3, 1), street.view(300, 1, 0.05, 3, 2)}),
            KeyReason::none);
}

TEST_P(SceneCut, IsFoundWhereThePictureGoesBlack) {
  const Street street(GetParam());
  EXPECT_EQ(reason_of_last({street.view(300), street.view(300, 1, 0)}), KeyReason::scene_cut);
}

INSTANTIATE_TEST_SUITE_P(Streets, SceneCut, testing::Range(1U, 6U));

// Flow finds something alike in any street of boxes: now and then too much of it.
TEST(SceneCuts, AreFoundBetweenStreets) {
  int found = 0;
  for (unsigned seed = 1; seed <= 10; ++seed) {
    const Street one(seed), other(seed + 1000);
    found += reason_of_last({one.view(300), one.view(304), other.view(300)}) == KeyReason::scene_cut ? 1 : 0;
    found += reason_of_last({one.view(300), one.view(300), one.view(700)}) == KeyReason::scene_cut ? 1 : 0;
  }
  EXPECT_GE(found, 19);
}

TEST(SceneCutOption, CanBeTurnedOff) {
  EXPECT_EQ(reason_of_last({Street(1).view(300), Street(1001).view(300)}, false), KeyReason::none);
}

TEST(SceneCutOption, TheCutFrameIsSegmentedByTheNetworkAndTheScheduleStartsAnew) {
  Segmenter segmenter(made_bundle("coarse"), {.schedule = Schedule::fixed(3), .threads = 1});
  const Street one(1), other(1001);
  segmenter.push(one.view(300).frame());
  segmenter.push(one.view(302).frame());
  const Picture cut = other.view(300);
  const Result result = segmenter.push(cut.frame());
  EXPECT_TRUE(result.is_key);
  EXPECT_EQ(result.key_reason, KeyReason::scene_cut);
  expect_labels(result.labels, Reference(cut, 320, 192, false));
  EXPECT_EQ(segmenter.push(other.view(302).frame()).age, 1);
  EXPECT_EQ(segmenter.push(other.view(304).frame()).age, 2);
  EXPECT_EQ(segmenter.push(other.view(306).frame()).key_reason, KeyReason::schedule);
}

TEST(SceneCutOption, ExternalFlowThatExplainsAPanIsBelieved) {
  const Street street(2);
  Segmenter segmenter(made_bundle("coarse"), {.schedule = Schedule::fixed(100), .threads = 1});
  segmenter.push(street.view(300).frame());
  std::vector<float> vectors(2 * 10 * 6, 0.F);
  // 100 pixels of 320 in one frame, on a grid of 10: far beyond what our own flow finds.
  for (std::size_t i = 0; i < vectors.size(); i += 2) vectors[i] = 100.F / 32;
  const FlowView flow = {.data = vectors.data(), .width = 10, .height = 6};
  EXPECT_EQ(segmenter.push(street.view(400).frame(), flow).age, 1);
  EXPECT_EQ(segmenter.push(street.view(500).frame()).key_reason, KeyReason::scene_cut);
}

}  // namespace
}  // namespace stpl_rt::test
