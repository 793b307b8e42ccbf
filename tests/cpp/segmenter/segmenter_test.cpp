#include <stpl_rt/segmenter.h>

#include <limits>

#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

using nlohmann::json;

SegmenterOptions options(const char* schedule, bool scene_cuts = true) {
  return {.schedule = Schedule::parse(schedule), .threads = 2, .confidence = true, .scene_cuts = scene_cuts};
}

// The same vector everywhere, on a grid of any size.
struct ConstantFlow {
  int width, height;
  std::vector<float> data;
  ConstantFlow(int w, int h, float dx, float dy)
      : width(w), height(h), data(static_cast<std::size_t>(2 * w * h)) {
    for (std::size_t i = 0; i < data.size(); i += 2) {
      data[i] = dx;
      data[i + 1] = dy;
    }
  }
  [[nodiscard]] FlowView view() const { return {.data = data.data(), .width = width, .height = height}; }
};

struct Case {
  const char* bundle;
  int in_width, in_height;
  bool corners;
  int frame_width, frame_height;
};

void PrintTo(const Case& c, std::ostream* stream) {
  *stream << c.bundle << " from " << c.frame_width << "x" << c.frame_height;
}

class KeyFrames : public testing::TestWithParam<Case> {};

TEST_P(KeyFrames, LabelsAndConfidenceAreTheReferences) {
  const Case& c = GetParam();
  Segmenter segmenter(made_bundle(c.bundle), options("every"));
  const Picture picture = textured_picture(c.frame_width, c.frame_height);
  const Result result = segmenter.push(picture.frame());
  ASSERT_EQ(result.labels.width(), c.frame_width);
  ASSERT_EQ(result.labels.height(), c.frame_height);
  const Reference reference(picture, c.in_width, c.in_height, c.corners);
  expect_labels(result.labels, reference);
  std::array<int, Reference::kClasses> seen{};
  for (const std::uint8_t label : result.labels.bytes()) ++seen.at(label);
  for (const int count : seen) EXPECT_GT(count, 50);  // else the comparison says little
  int worst = 0;
  for (int y = 0; y < c.frame_height; ++y) {
    for (int x = 0; x < c.frame_width; ++x) {
      const double expected = 255 * Reference::softmax_max(reference.at(x, y));
      const int found = result.confidence.at(x, y);
      worst = std::max(worst, static_cast<int>(std::lround(std::abs(found - expected))));
    }
  }
  EXPECT_LE(worst, 1);
}

INSTANTIATE_TEST_SUITE_P(Sizes, KeyFrames,
                         testing::Values(Case{"half_pixel", 96, 64, false, 96, 64},
                                         Case{"half_pixel", 96, 64, false, 250, 141},
                                         Case{"corners", 97, 65, true, 97, 65},
                                         Case{"corners", 97, 65, true, 131, 200},
                                         Case{"coarse", 320, 192, false, 320, 192}));

TEST(Segmenter, TakesAllFormatsAndStrides) {
  const Picture picture = textured_picture(96, 64);
  Segmenter segmenter(made_bundle("half_pixel"), options("every"));
  const Result expected = segmenter.push(picture.frame());

  std::vector<std::uint8_t> bgr(64 * 300, 7), flipped(64 * 96 * 3);
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 96; ++x) {
      for (int c = 0; c < 3; ++c) {
        bgr[static_cast<std::size_t>(y * 300 + 3 * x + c)] = picture.at(x, y)[2 - c];
        flipped[static_cast<std::size_t>((63 - y) * 288 + 3 * x + c)] = picture.at(x, y)[c];
      }
    }
  }
  const Frame in_bgr = {
      .data = bgr.data(), .width = 96, .height = 64, .stride = 300, .format = PixelFormat::bgr};
  EXPECT_EQ(segmenter.push(in_bgr).labels, expected.labels);
  const Frame upwards = {.data = flipped.data() + 63 * 288, .width = 96, .height = 64, .stride = -288};
  EXPECT_EQ(segmenter.push(upwards).labels, expected.labels);

  Picture gray(96, 64);
  std::vector<std::uint8_t> one_channel(96 * 64);
  for (std::size_t i = 0; i < one_channel.size(); ++i) {
    one_channel[i] = picture.rgb[3 * i];
    for (std::size_t c = 0; c < 3; ++c) gray.rgb[3 * i + c] = one_channel[i];
  }
  const Frame in_gray = {.data = one_channel.data(), .width = 96, .height = 64, .format = PixelFormat::gray};
  EXPECT_EQ(segmenter.push(in_gray).labels, segmenter.push(gray.frame()).labels);
}

TEST(Segmenter, AppliesTheLookUpTable) {
  const TemporaryFolder folder;
  const fs::path inverted = changed_bundle(folder, "half_pixel", [](json& m) {
    json table = json::array();
    for (int i = 0; i < 256; ++i) table.push_back(255 - i);
    m["input"]["lut"] = {table, table, table};
  });
  Picture picture = textured_picture(96, 64);
  const Result result = Segmenter(inverted, options("every")).push(picture.frame());
  for (std::uint8_t& value : picture.rgb) value = static_cast<std::uint8_t>(255 - value);
  expect_labels(result.labels, Reference(picture, 96, 64, false));
}

TEST(Segmenter, EveryFrameIsAKeyAndComputesNoFlow) {
  Segmenter segmenter(made_bundle("half_pixel"), options("every"));
  for (int t = 0; t < 4; ++t) {
    const Picture picture = textured_picture(96, 64, 2 * t);
    const Result result = segmenter.push(picture.frame());
    EXPECT_TRUE(result.is_key);
    EXPECT_EQ(result.key_reason, t == 0 ? KeyReason::first : KeyReason::schedule);
    EXPECT_EQ(result.age, 0);
    EXPECT_EQ(result.frame_index, static_cast<std::uint64_t>(t));
    EXPECT_EQ(result.timing.flow_ms, 0);
    EXPECT_GT(result.timing.network_ms, 0);
    EXPECT_GT(result.timing.preprocess_ms, 0);
    EXPECT_GT(result.timing.sample_ms, 0);
    EXPECT_GE(result.timing.total_ms, result.timing.network_ms + result.timing.sample_ms);
    expect_labels(result.labels, Reference(picture, 96, 64, false));
  }
}

TEST(Segmenter, FixedScheduleCountsFromTheKey) {
  Segmenter segmenter(made_bundle("coarse"), options("fixed:3"));
  const int ages[] = {0, 1, 2, 0, 1, 2, 0};
  for (int t = 0; t < 7; ++t) {
    const Picture picture = textured_picture(320, 192, t);
    const Result result = segmenter.push(picture.frame());
    EXPECT_EQ(result.age, ages[t]);
    EXPECT_EQ(result.is_key, ages[t] == 0);
    EXPECT_EQ(result.key_reason, t == 0         ? KeyReason::first
                                 : ages[t] == 0 ? KeyReason::schedule
                                                : KeyReason::none);
    EXPECT_GT(result.timing.flow_ms, 0);
    EXPECT_EQ(result.timing.network_ms > 0, result.is_key);
  }
}

TEST(Segmenter, TakesTheBundlesScheduleUnlessGivenOne) {
  EXPECT_EQ(Segmenter(made_bundle("half_pixel")).schedule().to_string(), "fixed:3");
  EXPECT_EQ(Segmenter(made_bundle("half_pixel"), options("every")).schedule().to_string(), "every");
}

// The key's logits read where the flow points: exactly, on every frame, for flow on any grid.
TEST(Segmenter, PropagatesAlongExternalFlow) {
  for (const bool corners : {false, true}) {
    const int in_w = corners ? 97 : 96, in_h = corners ? 65 : 64;
    const int w = 2 * in_w, h = 3 * in_h;  // a flow vector on the frame is 2 and 3 times one on the input
    Segmenter segmenter(made_bundle(corners ? "corners" : "half_pixel"), options("fixed:5", false));
    const Picture key = textured_picture(w, h);
    segmenter.push(key.frame());
    const Reference reference(key, in_w, in_h, corners);
    const ConstantFlow same_grid(w, h, 3.F, -1.5F), small_grid(w / 4, h / 4, 0.75F, -0.375F);
    for (int age = 1; age < 5; ++age) {
      const Picture unseen = textured_picture(w, h, 50 * age, 20, age);
      const FlowView flow = age % 2 == 0 ? small_grid.view() : same_grid.view();
      const Result result = segmenter.push(unseen.frame(), flow);
      EXPECT_EQ(result.age, age);
      const double scale_x = static_cast<double>(in_w) / w, scale_y = static_cast<double>(in_h) / h;
      // Both grids' sizes divide without rest only nearly for 97 x 65: their vectors differ by as much.
      const double grid_x = static_cast<double>(w) / (w / 4) / 4,
                   grid_y = static_cast<double>(h) / (h / 4) / 4;
      const double dx = scale_x * 3 * ((age + 1) / 2 + (age / 2) * grid_x);
      const double dy = scale_y * -1.5 * ((age + 1) / 2 + (age / 2) * grid_y);
      expect_labels(result.labels, reference, dx, dy);
    }
  }
}

TEST(Segmenter, FollowsMotionByItsOwnFlow) {
  Segmenter segmenter(made_bundle("coarse"), options("fixed:6"));
  for (int t = 0; t < 6; ++t) {
    const Picture picture = textured_picture(320, 192, 3.0 * t, -1.5 * t);
    const Result result = segmenter.push(picture.frame());
    ASSERT_EQ(result.age, t);
    const Reference truth(picture, 320, 192, false);
    int right = 0, all = 0;
    for (int y = 24; y < 168; ++y) {
      for (int x = 24; x < 296; ++x) {
        const Reference::Scores s = truth.at(x, y);
        if (Reference::margin(s) < 0.2) continue;
        ++all;
        if (result.labels.at(x, y) == Reference::label(s)) ++right;
      }
    }
    ASSERT_GT(all, 20000);
    EXPECT_GT(right, 0.98 * all) << "at age " << t;
  }
}

TEST(Segmenter, PixelsFromOutsideTheKeyHaveNoConfidence) {
  Segmenter segmenter(made_bundle("coarse"), options("fixed:4", false));
  segmenter.push(textured_picture(320, 192).frame());
  const ConstantFlow flow(320, 192, 20, 0);
  const Result result = segmenter.push(textured_picture(320, 192, 20).frame(), flow.view());
  double inside = 0;
  for (int y = 0; y < 192; ++y) {
    for (int x = 0; x < 280; ++x) inside += result.confidence.at(x, y);
    for (int x = 304; x < 320; ++x) {
      ASSERT_LE(result.confidence.at(x, y), 8) << x << ", " << y;
    }
  }
  EXPECT_GT(inside / (192 * 280), 100);
}

TEST(Segmenter, ConfidenceIsOffByDefault) {
  Segmenter segmenter(made_bundle("half_pixel"));
  EXPECT_TRUE(segmenter.push(textured_picture(96, 64).frame()).confidence.empty());
}

TEST(Segmenter, ResetStartsAnewAndKeepsCounting) {
  Segmenter segmenter(made_bundle("coarse"), options("fixed:9"));
  for (int round = 0; round < 3; ++round) {
    // Another scene each time: nothing of the past may be left in any cache.
    const Picture key = textured_picture(320, 192, 0, 0, round);
    Result result = segmenter.push(key.frame());
    EXPECT_EQ(result.key_reason, KeyReason::first);
    EXPECT_EQ(result.frame_index, static_cast<std::uint64_t>(2 * round));
    result = segmenter.push(textured_picture(320, 192, 2, 0, round).frame());
    EXPECT_EQ(result.age, 1);
    // A fresh stream that saw only these two frames says the same.
    Segmenter fresh(made_bundle("coarse"), options("fixed:9"));
    fresh.push(key.frame());
    const Result expected = fresh.push(textured_picture(320, 192, 2, 0, round).frame());
    EXPECT_EQ(result.labels, expected.labels);
    EXPECT_EQ(result.confidence, expected.confidence);
    segmenter.reset();
    if (round == 1) segmenter.reset();
  }
}

TEST(Segmenter, TwoKeysInARowLeaveNoStalePyramid) {
  Segmenter segmenter(made_bundle("coarse"), options("fixed:9"));
  segmenter.push(textured_picture(320, 192, 0, 0, 1).frame());
  segmenter.push(textured_picture(320, 192, 2, 0, 1).frame());
  segmenter.reset();
  segmenter.push(textured_picture(320, 192, 0, 0, 2).frame());
  segmenter.reset();
  segmenter.push(textured_picture(320, 192, 0, 0, 3).frame());
  const Result found = segmenter.push(textured_picture(320, 192, 3, 1, 3).frame());
  Segmenter fresh(made_bundle("coarse"), options("fixed:9"));
  fresh.push(textured_picture(320, 192, 0, 0, 3).frame());
  const Result expected = fresh.push(textured_picture(320, 192, 3, 1, 3).frame());
  EXPECT_EQ(found.age, 1);
  EXPECT_EQ(found.labels, expected.labels);
  EXPECT_EQ(found.confidence, expected.confidence);
}

TEST(Segmenter, ANewSizeOrFormatStartsAnew) {
  Segmenter segmenter(made_bundle("coarse"), options("fixed:9"));
  segmenter.push(textured_picture(320, 192).frame());
  EXPECT_EQ(segmenter.push(textured_picture(320, 192, 1).frame()).age, 1);
  const Picture larger = textured_picture(400, 240);
  Result result = segmenter.push(larger.frame());
  EXPECT_EQ(result.key_reason, KeyReason::size_change);
  EXPECT_EQ(result.labels.width(), 400);
  expect_labels(result.labels, Reference(larger, 320, 192, false));
  EXPECT_EQ(segmenter.push(larger.frame()).age, 1);
  Frame bgr = larger.frame();
  bgr.format = PixelFormat::bgr;
  EXPECT_EQ(segmenter.push(bgr).key_reason, KeyReason::size_change);
}

// Whatever is wrong with a frame or a flow, the stream goes on as if it had never come.
TEST(Segmenter, RefusedInputLeavesTheStreamAsItWas) {
  Segmenter hurt(made_bundle("coarse"), options("fixed:9")),
      spared(made_bundle("coarse"), options("fixed:9"));
  const Picture picture = textured_picture(320, 192);
  hurt.push(picture.frame());
  spared.push(picture.frame());
  const auto refuse = [&](const std::vector<std::string>& parts, const Frame& frame,
                          const FlowView* flow = nullptr) {
    expect_error(ErrorCode::invalid_argument, parts,
                 [&] { flow ? hurt.push(frame, *flow) : hurt.push(frame); });
  };
  Frame frame = picture.frame();
  frame.data = nullptr;
  refuse({"frame", "found none"}, frame);
  for (const int size : {0, -3, 16385}) {
    frame = picture.frame();
    frame.width = size;
    refuse({std::to_string(size)}, frame);
    frame = picture.frame();
    frame.height = size;
    refuse({std::to_string(size)}, frame);
  }
  frame = picture.frame();
  for (const std::ptrdiff_t stride : {959, -959, 1}) {
    frame.stride = stride;
    refuse({"stride", "960", std::to_string(stride)}, frame);
  }
  frame = picture.frame();
  frame.format = static_cast<PixelFormat>(9);
  refuse({"format", "9"}, frame);

  ConstantFlow flow(8, 8, 0, 0);
  FlowView view = flow.view();
  view.data = nullptr;
  refuse({"flow", "null"}, picture.frame(), &view);
  view = flow.view();
  view.width = 0;
  refuse({"flow", "0 x 8"}, picture.frame(), &view);
  view = flow.view();
  view.stride = 15;
  refuse({"flow", "stride", "16", "15"}, picture.frame(), &view);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e20F}) {
    flow.data[2 * (3 * 8 + 5) + 1] = bad;
    view = flow.view();
    refuse({"flow", "finite", "x 5, y 3"}, picture.frame(), &view);
  }
  for (int t = 1; t < 4; ++t) {
    const Picture next = textured_picture(320, 192, 2 * t);
    const Result found = hurt.push(next.frame()), expected = spared.push(next.frame());
    EXPECT_EQ(found.frame_index, static_cast<std::uint64_t>(t));
    EXPECT_EQ(found.age, t);
    EXPECT_EQ(found.labels, expected.labels);
    EXPECT_EQ(found.confidence, expected.confidence);
  }
}

TEST(Segmenter, LetterboxPropagatesInsideTheContent) {
  const TemporaryFolder folder;
  const fs::path path = changed_bundle(folder, "coarse", [](json& m) { m["input"]["resize"] = "letterbox"; });
  Segmenter segmenter(path, options("fixed:4", false));
  const Picture key = textured_picture(192, 192);  // fills the middle 192 of 320 columns
  const Result first = segmenter.push(key.frame());
  const ConstantFlow flow(192, 192, 16, 0);
  const Result second = segmenter.push(textured_picture(192, 192, 16).frame(), flow.view());
  int wrong = 0;
  for (int y = 0; y < 192; ++y) {
    for (int x = 0; x + 16 < 184; ++x) {
      if (second.labels.at(x, y) != first.labels.at(x + 16, y)) {
        ++wrong;
      }
    }
  }
  EXPECT_LT(wrong, 20);  // equal but for rounding of the displaced positions
}

TEST(Segmenter, TinyFramesPass) {
  Segmenter segmenter(made_bundle("half_pixel"), options("fixed:3"));
  for (const int size : {1, 2, 3}) {
    const Picture picture = textured_picture(size, size);
    for (int t = 0; t < 4; ++t) {
      EXPECT_EQ(segmenter.push(picture.frame()).labels.size(), static_cast<std::size_t>(size * size));
    }
  }
}

TEST(Segmenter, RefusesOptionsThatCannotBe) {
  SegmenterOptions bad = options("every");
  bad.threads = -1;
  expect_error(ErrorCode::invalid_argument, {"threads", "-1"},
               [&] { Segmenter s(made_bundle("half_pixel"), bad); });
  bad = options("every");
  bad.device = "cuda";
  expect_error(ErrorCode::unsupported, {"\"cuda\"", "\"cpu\""},
               [&] { Segmenter s(made_bundle("half_pixel"), bad); });
}

TEST(Segmenter, ResultDoesNotDependOnThreads) {
  SegmenterOptions one = options("fixed:3"), two = options("fixed:3");
  one.threads = 1;
  Segmenter a(made_bundle("coarse"), one), b(made_bundle("coarse"), two);
  EXPECT_EQ(a.threads(), 1);
  EXPECT_EQ(b.threads(), 2);
  for (int t = 0; t < 5; ++t) {
    const Picture picture = textured_picture(333, 201, 2 * t, t);
    const Result x = a.push(picture.frame()), y = b.push(picture.frame());
    EXPECT_EQ(x.labels, y.labels);
    EXPECT_EQ(x.confidence, y.confidence);
  }
}

TEST(Segmenter, MovesWithItsStream) {
  Segmenter first(made_bundle("half_pixel"), options("fixed:5"));
  const Picture picture = textured_picture(96, 64);
  first.push(picture.frame());
  Segmenter second = std::move(first);
  EXPECT_EQ(second.push(picture.frame()).age, 1);
}

}  // namespace
}  // namespace stpl_rt::test
