// examples/jetson/motion_vectors.h, with a block matcher in the place of the hardware.
#include "jetson/motion_vectors.h"

#include <cstdlib>
#include <limits>

#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

constexpr int kBlock = 4;

TEST(MotionVectors, AreS105AndBecomePixelsOfTheGrid) {
  // Two rows of three, four bytes of padding after each; a picture of 12x8 pixels.
  const std::vector<std::int16_t> data = {32, -32, 1, 0, 160, 16, 99, 99, 0, 0, 32767, -32768, -8, 4, 99, 99};
  std::vector<float> memory;
  const FlowView flow = jetson::to_flow(
      {.data = data.data(), .columns = 3, .rows = 2, .pitch = 16, .picture_width = 12, .picture_height = 8},
      memory);
  EXPECT_EQ(flow.width, 3);
  EXPECT_EQ(flow.height, 2);
  const std::vector<float> pixels = {1, -1, 1.F / 32, 0, 5, 0.5F, 0, 0, 1023.96875F, -1024, -0.25F, 0.125F};
  for (std::size_t i = 0; i < pixels.size(); ++i) EXPECT_FLOAT_EQ(flow.data[i], pixels[i] / kBlock) << i;
}

// A last block that sticks out of the picture is part of the grid.
TEST(MotionVectors, TheGridMayBeLargerThanThePicture) {
  const std::vector<std::int16_t> data(2 * 3, 32);
  std::vector<float> memory;
  const FlowView flow = jetson::to_flow(
      {.data = data.data(), .columns = 3, .rows = 1, .pitch = 12, .picture_width = 10, .picture_height = 4},
      memory);
  EXPECT_FLOAT_EQ(flow.data[0], 3.F / 10);
  EXPECT_FLOAT_EQ(flow.data[1], 1.F / 4);
}

// Of a block and four pixels around it.
int difference(const Picture& first, const Picture& second, int x, int y, int dx, int dy) {
  constexpr int kAround = 4;
  int sum = 0;
  for (int v = y - kAround; v < y + kBlock + kAround; ++v) {
    for (int u = x - kAround; u < x + kBlock + kAround; ++u) {
      const auto inside = [](int at, int size) { return std::clamp(at, 0, size - 1); };
      const auto* a = first.at(inside(u, first.width), inside(v, first.height));
      const auto* b = second.at(inside(u + dx, second.width), inside(v + dy, second.height));
      sum += std::abs(a[1] - b[1]);
    }
  }
  return sum;
}

// What the hardware does, in whole pixels: where each block of `first` lies in `second`.
std::vector<std::int16_t> match(const Picture& first, const Picture& second) {
  constexpr int kReach = 5;
  std::vector<std::int16_t> vectors;
  for (int y = 0; y < first.height; y += kBlock) {
    for (int x = 0; x < first.width; x += kBlock) {
      int least = std::numeric_limits<int>::max(), best_x = 0, best_y = 0;
      for (int dy = -kReach; dy <= kReach; ++dy) {
        for (int dx = -kReach; dx <= kReach; ++dx) {
          const int found = difference(first, second, x, y, dx, dy);
          if (found >= least) continue;
          least = found, best_x = dx, best_y = dy;
        }
      }
      vectors.push_back(static_cast<std::int16_t>(32 * best_x));
      vectors.push_back(static_cast<std::int16_t>(32 * best_y));
    }
  }
  return vectors;
}

TEST(MotionVectorsInAStream, CarryTheLabelsAlong) {
  constexpr int kWidth = 320, kHeight = 192, kColumns = kWidth / kBlock, kRows = kHeight / kBlock;
  Segmenter segmenter(made_bundle("coarse"), {.schedule = Schedule::fixed(4), .threads = 2});
  std::vector<float> memory;
  Picture past = textured_picture(kWidth, kHeight);
  segmenter.push(past.frame());
  for (int t = 1; t < 4; ++t) {
    const Picture picture = textured_picture(kWidth, kHeight, 4 * t, -3 * t);
    const std::vector<std::int16_t> vectors = match(picture, past);
    const FlowView flow = jetson::to_flow({.data = vectors.data(),
                                           .columns = kColumns,
                                           .rows = kRows,
                                           .pitch = 2 * sizeof(std::int16_t) * kColumns,
                                           .picture_width = kWidth,
                                           .picture_height = kHeight},
                                          memory);
    const Result result = segmenter.push(picture.frame(), flow);
    ASSERT_EQ(result.age, t);
    const Reference truth(picture, kWidth, kHeight, false);
    int right = 0, all = 0;
    for (int y = 24; y < kHeight - 24; ++y) {
      for (int x = 24; x < kWidth - 24; ++x) {
        const Reference::Scores scores = truth.at(x, y);
        if (Reference::margin(scores) < 0.2) continue;
        ++all;
        if (result.labels.at(x, y) == Reference::label(scores)) ++right;
      }
    }
    ASSERT_GT(all, 20000);
    EXPECT_GT(right, 0.98 * all) << "at age " << t;
    past = picture;
  }
}

}  // namespace
}  // namespace stpl_rt::test
