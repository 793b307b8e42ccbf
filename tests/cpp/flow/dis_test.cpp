#include "flow/dis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace stpl_rt {
namespace {

// A smooth picture seen at (x + dx, y + dy): wavelengths of 20 pixels and more, so that every level shows it.
Image<std::uint8_t> picture(int width, int height, double dx, double dy) {
  Image<std::uint8_t> image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double u = x + dx;
      const double v = y + dy;
      const double value = 40 * std::sin(0.21 * u + 0.05 * v) + 40 * std::sin(0.19 * v - 0.08 * u + 1) +
                           40 * std::sin(0.045 * u + 0.06 * v + 2);
      image.row(y)[x] = static_cast<std::uint8_t>(std::lround(127 + value));
    }
  }
  return image;
}

double mean_error(const FlowField& flow, double dx, double dy, int margin) {
  double sum = 0;
  int count = 0;
  for (int y = margin; y < flow.height() - margin; ++y) {
    for (int x = margin; x < flow.width() - margin; ++x) {
      sum += std::hypot(flow.dx.row(y)[x] - dx, flow.dy.row(y)[x] - dy);
      ++count;
    }
  }
  return sum / count;
}

void expect_equal(const FlowField& a, const FlowField& b) {
  ASSERT_EQ(a.size(), b.size());
  for (int y = 0; y < a.height(); ++y) {
    for (int x = 0; x < a.width(); ++x) {
      ASSERT_EQ(a.dx.row(y)[x], b.dx.row(y)[x]);
      ASSERT_EQ(a.dy.row(y)[x], b.dy.row(y)[x]);
    }
  }
}

struct Shift {
  double dx, dy;
};

class TranslationTest : public testing::TestWithParam<Shift> {};

// current(x) = past(x + flow).
TEST_P(TranslationTest, IsFound) {
  const auto [dx, dy] = GetParam();
  const Image<std::uint8_t> past = picture(320, 192, 0, 0);
  const Image<std::uint8_t> current = picture(320, 192, dx, dy);
  ThreadPool pool(2);
  DisFlow dis;
  FlowField flow;
  dis.compute(current.cview(), past.cview(), flow, pool);
  EXPECT_LT(mean_error(flow, dx, dy, 32), 0.05);
}

INSTANTIATE_TEST_SUITE_P(Shifts, TranslationTest,
                         testing::Values(Shift{0.5, 0}, Shift{0, -0.5}, Shift{1.3, -0.7}, Shift{-4, 4},
                                         Shift{6.25, -3.5}, Shift{-11, -7.75}));

TEST(DisFlow, OfAnImageIntoItselfIsZero) {
  const Image<std::uint8_t> image = picture(131, 97, 0, 0);
  ThreadPool pool(1);
  DisFlow dis;
  FlowField flow;
  dis.compute(image.cview(), image.cview(), flow, pool);
  ASSERT_EQ(flow.size(), image.size());
  EXPECT_EQ(mean_error(flow, 0, 0, 0), 0);
}

TEST(DisFlow, PatchSizesThatFillNoVectorFindTheSame) {
  const Image<std::uint8_t> past = picture(320, 192, 0, 0);
  const Image<std::uint8_t> current = picture(320, 192, 2.5, 1.25);
  ThreadPool pool(1);
  for (const int size : {5, 8, 11, 16, 20}) {
    DisFlow dis({.finest_scale = 1, .patch_size = size, .patch_stride = size / 2});
    FlowField flow;
    dis.compute(current.cview(), past.cview(), flow, pool);
    EXPECT_LT(mean_error(flow, 2.5, 1.25, 32), 0.1) << "patch size " << size;
  }
}

TEST(DisFlow, DoesNotDependOnThreadsNorOnWhoBuildsThePyramids) {
  const Image<std::uint8_t> past = picture(323, 190, 0, 0);
  const Image<std::uint8_t> current = picture(323, 190, 3.7, -5.1);
  ThreadPool one(1);
  ThreadPool three(3);
  DisFlow dis;
  FlowField expected;
  dis.compute(current.cview(), past.cview(), expected, one);
  FlowField flow;
  dis.compute(current.cview(), past.cview(), flow, three);
  expect_equal(flow, expected);
  Pyramid a;
  Pyramid b;
  dis.build(current.cview(), a, three);
  dis.build(past.cview(), b, three);
  dis.compute(a, b, flow, three);
  expect_equal(flow, expected);
}

TEST(DisFlow, RefusesPyramidsThatDoNotBelongTogether) {
  const Image<std::uint8_t> small = picture(64, 64, 0, 0);
  const Image<std::uint8_t> large = picture(128, 64, 0, 0);
  ThreadPool pool(1);
  DisFlow dis;
  DisFlow finer({.finest_scale = 1});
  Pyramid a;
  Pyramid b;
  FlowField flow;
  dis.build(small.cview(), a, pool);
  dis.build(large.cview(), b, pool);
  EXPECT_THROW(dis.compute(a, b, flow, pool), Error);
  finer.build(small.cview(), b, pool);
  EXPECT_THROW(dis.compute(a, b, flow, pool), Error);
  EXPECT_THROW(finer.compute(a, a, flow, pool), Error);
  b.clear();
  EXPECT_THROW(dis.compute(a, b, flow, pool), Error);
}

TEST(DisFlow, RefusesOptionsOutOfRange) {
  EXPECT_THROW(DisFlow({.finest_scale = -1}), Error);
  EXPECT_THROW(DisFlow({.patch_size = 33}), Error);
  EXPECT_THROW(DisFlow({.patch_size = 8, .patch_stride = 9}), Error);
  EXPECT_THROW(DisFlow({.iterations = 0}), Error);
}

}  // namespace
}  // namespace stpl_rt
