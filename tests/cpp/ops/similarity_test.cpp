#include "ops/similarity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace stpl_rt {
namespace {

Image<std::uint8_t> noise(int width, int height, unsigned seed) {
  std::mt19937 random(seed);
  Image<std::uint8_t> image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) image.row(y)[x] = static_cast<std::uint8_t>(64 + random() % 128);
  }
  return image;
}

TEST(Similarity, IsFullForTheSameFrameAndNoneForAnother) {
  const Image<std::uint8_t> a = noise(160, 96, 1), b = noise(160, 96, 2);
  const Similarity same = similarity(a.cview(), a.cview(), nullptr);
  EXPECT_NEAR(same.correlation, 1, 1e-5);
  EXPECT_NEAR(same.residual, 0, 0.05);
  EXPECT_EQ(same.blocks, 60);
  const Similarity other = similarity(a.cview(), b.cview(), nullptr);
  EXPECT_NEAR(other.correlation, 0, 0.12);
  // The difference of two even distributions over 128 levels, less the blocks' means (16 samples each).
  EXPECT_NEAR(other.residual, 128 / std::sqrt(6.0) * std::sqrt(15.0 / 16), 3);
}

TEST(Similarity, FollowsTheFlow) {
  const Image<std::uint8_t> past = noise(160, 96, 3);
  Image<std::uint8_t> current(160, 96);
  FlowField flow;
  flow.resize(160, 96);
  flow.dx.fill(5);
  flow.dy.fill(-3);
  for (int y = 0; y < 96; ++y) {
    for (int x = 0; x < 160; ++x) {
      current.row(y)[x] = past.row(std::max(y - 3, 0))[std::min(x + 5, 159)];
    }
  }
  EXPECT_NEAR(similarity(current.cview(), past.cview(), &flow).correlation, 1, 1e-5);
  EXPECT_LT(similarity(current.cview(), past.cview(), nullptr).correlation, 0.2);
}

TEST(Similarity, DoesNotMindBrightnessAndLayout) {
  const Image<std::uint8_t> a = noise(160, 96, 4), b = noise(160, 96, 5);
  Image<std::uint8_t> darker(160, 96), one(160, 96), other(160, 96);
  for (int y = 0; y < 96; ++y) {
    for (int x = 0; x < 160; ++x) {
      darker.row(y)[x] = static_cast<std::uint8_t>(a.row(y)[x] / 2 + 3);
      // The same bright half above in both, finer structure of their own.
      const int layout = y < 48 ? 160 : 20;
      one.row(y)[x] = static_cast<std::uint8_t>(layout + a.row(y)[x] / 4);
      other.row(y)[x] = static_cast<std::uint8_t>(layout + b.row(y)[x] / 4);
    }
  }
  EXPECT_GT(similarity(darker.cview(), a.cview(), nullptr).correlation, 0.99);
  EXPECT_LT(similarity(one.cview(), other.cview(), nullptr).correlation, 0.2);
}

TEST(Similarity, IsZeroForFlatFramesAndBlocksAreBounded) {
  Image<std::uint8_t> flat(64, 64);
  flat.fill(90);
  EXPECT_EQ(similarity(flat.cview(), flat.cview(), nullptr).correlation, 0);
  EXPECT_EQ(similarity(flat.cview(), flat.cview(), nullptr).residual, 0);
  const Image<std::uint8_t> tiny = noise(15, 3, 1), large = noise(2048, 1024, 1);
  EXPECT_EQ(similarity(tiny.cview(), tiny.cview(), nullptr).blocks, 0);
  EXPECT_LE(similarity(large.cview(), large.cview(), nullptr).blocks, 512);
  EXPECT_GT(similarity(large.cview(), large.cview(), nullptr).blocks, 256);
}

}  // namespace
}  // namespace stpl_rt
