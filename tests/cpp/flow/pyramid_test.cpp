#include "flow/pyramid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace stpl_rt {
namespace {

Image<std::uint8_t> random_image(int width, int height, unsigned seed) {
  std::mt19937 random(seed);
  Image<std::uint8_t> image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) image.row(y)[x] = static_cast<std::uint8_t>(random() & 255U);
  }
  return image;
}

// Mean of the 2^level x 2^level pixels that become pixel (x, y) of a level.
double box_mean_of(const Image<std::uint8_t>& image, int level, int x, int y) {
  const int scale = 1 << level;
  double sum = 0;
  for (int j = 0; j < scale; ++j) {
    for (int i = 0; i < scale; ++i) sum += image.row(y * scale + j)[x * scale + i];
  }
  return sum / (scale * scale);
}

class PyramidTest : public testing::TestWithParam<Size> {};

TEST_P(PyramidTest, LevelsAreBoxMeansOfTheImage) {
  const auto [width, height] = GetParam();
  const Image<std::uint8_t> image = random_image(width, height, 1);
  ThreadPool pool(2);
  for (int finest = 0; finest <= 2; ++finest) {
    Pyramid pyramid;
    pyramid.build(image.cview(), {image.size(), finest, 3, 8}, pool);
    for (int l = finest; l <= 3; ++l) {
      const ImageView<const float> level = pyramid.level(l);
      ASSERT_EQ(level.size(), (Size{width >> l, height >> l}));
      for (int y = 0; y < level.height; ++y) {
        // Sums of at most 64 bytes, divided by powers of two: exact in float.
        for (int x = 0; x < level.width; ++x) ASSERT_EQ(level.row(y)[x], box_mean_of(image, l, x, y));
      }
    }
  }
}

TEST_P(PyramidTest, BorderRepeatsTheEdge) {
  const auto [width, height] = GetParam();
  const Image<std::uint8_t> image = random_image(width, height, 2);
  constexpr int kBorder = 8;
  ThreadPool pool(2);
  Pyramid pyramid;
  pyramid.build(image.cview(), {image.size(), 1, 2, kBorder}, pool);
  for (int l = 1; l <= 2; ++l) {
    const ImageView<const float> level = pyramid.level(l);
    for (int y = -kBorder; y < level.height + kBorder; ++y) {
      for (int x = -kBorder; x < level.width + kBorder; ++x) {
        const float edge = level.row(std::clamp(y, 0, level.height - 1))[std::clamp(x, 0, level.width - 1)];
        ASSERT_EQ(level.row(y)[x], edge) << "level " << l << " at " << x << ", " << y;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, PyramidTest,
                         testing::Values(Size{8, 8}, Size{64, 32}, Size{65, 33}, Size{31, 79}, Size{9, 200}));

TEST(Pyramid, IsEmptyUntilBuiltAndOnceCleared) {
  const Image<std::uint8_t> image = random_image(16, 16, 3);
  ThreadPool pool(1);
  Pyramid pyramid;
  EXPECT_TRUE(pyramid.empty());
  pyramid.build(image.cview(), {image.size(), 0, 1, 8}, pool);
  EXPECT_FALSE(pyramid.empty());
  pyramid.clear();
  EXPECT_TRUE(pyramid.empty());
}

TEST(Pyramid, IsNotEmptyWhereTheImageIsTooSmallForALevel) {
  const Image<std::uint8_t> image = random_image(3, 2, 4);
  ThreadPool pool(1);
  Pyramid pyramid;
  pyramid.build(image.cview(), {image.size(), 2, 1, 8}, pool);
  EXPECT_FALSE(pyramid.empty());
}

}  // namespace
}  // namespace stpl_rt
