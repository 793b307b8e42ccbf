#include "core/image.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace stpl_rt {
namespace {

TEST(Image, RowsStartOnCacheLines) {
  Image<float> image(17, 5);
  for (int y = 0; y < 5; ++y) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(image.row(y)) % 64, 0U) << y;
  EXPECT_GE(image.stride(), 17);
}

TEST(Image, ShrinkingKeepsTheMemory) {
  Image<std::uint8_t> image(100, 80);
  const std::uint8_t* before = image.row(0);
  image.resize(33, 7);
  EXPECT_EQ(image.row(0), before);
  EXPECT_EQ(image.size(), (Size{33, 7}));
  image.resize(100, 80);
  EXPECT_EQ(image.row(0), before);
}

TEST(Image, ViewsSeeItsPixels) {
  Image<int> image(3, 2);
  image.fill(7);
  image.row(1)[2] = 9;
  const ImageView<const int> view = image.view();
  EXPECT_EQ(view.row(0)[0], 7);
  EXPECT_EQ(view.row(1)[2], 9);
  EXPECT_TRUE(ImageView<int>{}.empty());
}

TEST(Image, RefusesNegativeSizes) { EXPECT_THROW(Image<int>(-1, 2), Error); }

}  // namespace
}  // namespace stpl_rt
