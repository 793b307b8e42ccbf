// Accel mode: the optional networks of a bundle. Those of the bundle "accel" are known: fused logits are
// three parts the key frame's own and one part carried, updated ones the mean of carried and the image's own.
#include <stpl_rt/stpl_rt.h>

#include <vector>

#include "test_bundle.h"

namespace stpl_rt {
namespace {

using test::changed_bundle;
using test::expect_error;
using test::made_bundle;
using test::Picture;
using test::Reference;
using test::TemporaryFolder;
using test::textured_picture;

constexpr int kWidth = 320, kHeight = 192;

// Flow of nothing moving, so that what is carried is the key frame's logits as they are.
class Still {
 public:
  [[nodiscard]] FlowView view() const { return {.data = zeros_.data(), .width = 4, .height = 4}; }

 private:
  std::vector<float> zeros_ = std::vector<float>(32, 0.F);
};

Segmenter accelerated(const Schedule& schedule, bool fuse, bool update) {
  return Segmenter(made_bundle("accel"),
                   {.schedule = schedule, .threads = 1, .scene_cuts = false, .fuse = fuse, .update = update});
}

// Labels of `part` times the logits of `a` and the rest of `b`.
void expect_mixed(const ByteMap& labels, const Reference& a, const Reference& b, double part) {
  int wrong = 0, other_than_a = 0, other_than_b = 0;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      const Reference::Scores of_a = a.at(x, y), of_b = b.at(x, y);
      Reference::Scores mixed{};
      for (int c = 0; c < Reference::kClasses; ++c) mixed[c] = part * of_a[c] + (1 - part) * of_b[c];
      const int found = labels.at(x, y);
      if (found != Reference::label(mixed) && Reference::margin(mixed) > 1e-3) ++wrong;
      if (found != Reference::label(of_a)) ++other_than_a;
      if (found != Reference::label(of_b)) ++other_than_b;
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(other_than_a, 100);  // else the test would say nothing
  EXPECT_GT(other_than_b, 100);
}

TEST(Accel, UpdateCorrectsWhatIsCarriedAndIsNotCarriedOn) {
  const Picture first = textured_picture(kWidth, kHeight), second = textured_picture(kWidth, kHeight, 40, 30);
  const Picture third = textured_picture(kWidth, kHeight, 90, 10);
  const Reference key(first, kWidth, kHeight, false);
  Segmenter segmenter = accelerated(Schedule::fixed(3), false, true);
  const Still still;
  test::expect_labels(segmenter.push(first.frame()).labels, key);
  const Result result = segmenter.push(second.frame(), still.view());
  EXPECT_FALSE(result.is_key);
  EXPECT_GT(result.timing.network_ms, 0);
  expect_mixed(result.labels, Reference(second, kWidth, kHeight, false), key, 0.5);
  // The next one is half the key frame's again, not a quarter of it.
  expect_mixed(segmenter.push(third.frame(), still.view()).labels, Reference(third, kWidth, kHeight, false),
               key, 0.5);
}

TEST(Accel, FuseMixesAKeyFrameWithItsPastAndKeepsTheFrameSOwn) {
  const Picture first = textured_picture(kWidth, kHeight), second = textured_picture(kWidth, kHeight, 60, 50);
  const Picture third = textured_picture(kWidth, kHeight, 120, 20);
  const Reference a(first, kWidth, kHeight, false), b(second, kWidth, kHeight, false);
  Segmenter segmenter = accelerated(Schedule::every(), true, false);
  const Still still;
  test::expect_labels(segmenter.push(first.frame()).labels, a);  // no past
  expect_mixed(segmenter.push(second.frame(), still.view()).labels, b, a, 0.75);
  std::vector<float> kept, alone;
  segmenter.logits(kept);
  Segmenter plain(made_bundle("accel"), {.schedule = Schedule::every(), .threads = 1});
  (void)plain.push(second.frame());
  plain.logits(alone);
  ASSERT_EQ(kept.size(), alone.size());
  for (std::size_t i = 0; i < kept.size(); ++i) ASSERT_NEAR(kept[i], alone[i], 1e-5);
  expect_mixed(segmenter.push(third.frame(), still.view()).labels, Reference(third, kWidth, kHeight, false),
               b, 0.75);
}

// Blocks of colours that follow no pattern: nothing of another picture is found in it.
Picture block_picture() {
  Picture picture(kWidth, kHeight);
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      for (int c = 0; c < 3; ++c) {
        const unsigned block = static_cast<unsigned>(x / 16 + 31 * (y / 16) + 997 * c + 1);
        picture.at(x, y)[c] = static_cast<std::uint8_t>((block * 2654435761U) >> 24U);
      }
    }
  }
  return picture;
}

TEST(Accel, FuseHasNoPastAfterACutOrAReset) {
  const Picture first = textured_picture(kWidth, kHeight);
  const Picture other = block_picture();
  const Reference b(other, kWidth, kHeight, false);
  Segmenter segmenter(made_bundle("accel"), {.schedule = Schedule::every(), .threads = 1, .fuse = true});
  (void)segmenter.push(first.frame());
  const Result cut = segmenter.push(other.frame());
  EXPECT_EQ(cut.key_reason, KeyReason::scene_cut);
  test::expect_labels(cut.labels, b);
  (void)segmenter.push(first.frame());
  segmenter.reset();
  test::expect_labels(segmenter.push(other.frame()).labels, b);
}

TEST(Accel, WhatIsOffChangesNothing) {
  Segmenter off = accelerated(Schedule::fixed(3), false, false);
  Segmenter plain(made_bundle("coarse"), {.schedule = Schedule::fixed(3), .threads = 1, .scene_cuts = false});
  for (int i = 0; i < 5; ++i) {
    const Picture picture = textured_picture(kWidth, kHeight, 3.0 * i, 2.0 * i);
    EXPECT_EQ(off.push(picture.frame()).labels, plain.push(picture.frame()).labels);
  }
}

TEST(Accel, RefusesWhatCannotBe) {
  expect_error(ErrorCode::invalid_argument, {"update", "\"coarse\"", "accel.enabled"}, [] {
    (void)Segmenter(made_bundle("coarse"), {.schedule = Schedule::fixed(3), .update = true});
  });
  expect_error(ErrorCode::invalid_argument, {"fuse", "\"coarse\""},
               [] { (void)Segmenter(made_bundle("coarse"), {.fuse = true}); });
  expect_error(ErrorCode::invalid_argument, {"fuse", "key_lag"}, [] {
    (void)Segmenter(made_bundle("accel"), {.schedule = Schedule::fixed(3), .key_lag = 1, .fuse = true});
  });
  expect_error(ErrorCode::invalid_argument, {"update", "schedule"},
               [] { (void)accelerated(Schedule::every(), false, true); });
}

TEST(Accel, AManifestThatLiesAboutTheNetworksIsRefused) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::invalid_bundle, {"networks.update.inputs", "shape"}, [&] {
    (void)Bundle::open(changed_bundle(folder, "accel", [](nlohmann::json& manifest) {
      manifest["networks"]["update"]["inputs"][1]["shape"][1] = 3;
    }));
  });
  expect_error(ErrorCode::invalid_bundle, {"networks.fuse.inputs"}, [&] {
    (void)Bundle::open(changed_bundle(
        folder, "accel", [](nlohmann::json& manifest) { manifest["networks"]["fuse"]["inputs"].erase(1); }));
  });
  // Two networks of the same tensors' shapes, one in the other's place: the names tell.
  expect_error(ErrorCode::invalid_bundle, {"segment.onnx", "inputs"}, [&] {
    const auto path = changed_bundle(folder, "accel", [](nlohmann::json& manifest) {
      manifest["networks"]["update"]["file"] = "segment.onnx";
      manifest["networks"]["update"]["sha256"] = manifest["networks"]["segment"]["sha256"];
    });
    (void)Segmenter(path, {.schedule = Schedule::fixed(2), .update = true});
  });
}

}  // namespace
}  // namespace stpl_rt
