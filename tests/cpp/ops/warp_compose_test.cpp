#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "ops/compose.h"
#include "ops/warp.h"
#include "reference.h"
#include "segmenter/external_flow.h"

namespace stpl_rt {
namespace {

class FlowSizeTest : public testing::TestWithParam<Size> {};

TEST_P(FlowSizeTest, WarpIsABilinearReadAlongTheFlow) {
  const auto [w, h] = GetParam();
  const int channels = 3;
  const FlowField flow = reference::random_flow(w, h, 1, 6.F);
  const std::vector<float> past = reference::noise(static_cast<std::size_t>(channels) * w * h, 2);
  std::vector<float> out(past.size());
  ThreadPool pool(2);
  warp(past.data(), channels, flow, out.data(), pool);
  for (int c = 0; c < channels; ++c) {
    const float* plane = past.data() + static_cast<std::ptrdiff_t>(c) * w * h;
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < w; ++x) {
        const double expected =
            reference::bilinear(plane, w, h, w, x + static_cast<double>(flow.dx.row(y)[x]),
                                y + static_cast<double>(flow.dy.row(y)[x]));
        ASSERT_NEAR(out[(static_cast<std::size_t>(c) * h + y) * w + x], expected, 1e-4);
      }
    }
  }
}

TEST_P(FlowSizeTest, ComposeAddsThePastFlowReadAlongTheLatest) {
  const auto [w, h] = GetParam();
  FlowField latest = reference::random_flow(w, h, 3, 3.F);
  const FlowField past = reference::random_flow(w, h, 4, 3.F);
  FlowField out;
  ThreadPool pool(3);
  compose(latest, past, out, pool);
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      const double dx = latest.dx.row(y)[x], dy = latest.dy.row(y)[x];
      const std::ptrdiff_t stride = past.dx.stride();
      ASSERT_NEAR(out.dx.row(y)[x], dx + reference::bilinear(past.dx.row(0), w, h, stride, x + dx, y + dy),
                  1e-4);
      ASSERT_NEAR(out.dy.row(y)[x], dy + reference::bilinear(past.dy.row(0), w, h, stride, x + dx, y + dy),
                  1e-4);
    }
  }
  compose(latest, past, latest, pool);  // in place
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) ASSERT_EQ(latest.dx.row(y)[x], out.dx.row(y)[x]);
  }
}

TEST_P(FlowSizeTest, ReadFlowKeepsAFieldOfTheSameGrid) {
  const auto [w, h] = GetParam();
  const int stride = 2 * w + 3;
  const std::vector<float> vectors = reference::noise(static_cast<std::size_t>(stride) * h, 5);
  InputSpec spec;
  spec.width = 64;
  spec.height = 48;
  FlowField out;
  out.resize(w, h);
  ThreadPool pool(2);
  read_flow({vectors.data(), w, h, stride}, {640, 480}, spec, out, pool);
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      ASSERT_EQ(out.dx.row(y)[x], vectors[static_cast<std::size_t>(y) * stride + 2 * x]);
      ASSERT_EQ(out.dy.row(y)[x], vectors[static_cast<std::size_t>(y) * stride + 2 * x + 1]);
    }
  }
}

// One row has nothing after it: its stride says nothing, also where it has no absolute value.
TEST(ReadFlow, ASingleRowMayHaveAnyStride) {
  const std::vector<float> vectors = reference::noise(16, 5);
  InputSpec spec;
  spec.width = 64;
  spec.height = 48;
  FlowField out;
  out.resize(8, 1);
  ThreadPool pool(1);
  constexpr std::ptrdiff_t kFarthest = std::numeric_limits<std::ptrdiff_t>::min();
  for (const std::ptrdiff_t stride : {kFarthest, kFarthest + 1, std::numeric_limits<std::ptrdiff_t>::max()}) {
    const FlowView flow{.data = vectors.data(), .width = 8, .height = 1, .stride = stride};
    check_external_flow(flow);
    read_flow(flow, {640, 480}, spec, out, pool);
    for (int x = 0; x < 8; ++x) ASSERT_EQ(out.dx.row(0)[x], vectors[static_cast<std::size_t>(2 * x)]);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, FlowSizeTest,
                         testing::Values(Size{1, 1}, Size{1, 7}, Size{9, 1}, Size{2, 2}, Size{17, 5},
                                         Size{64, 48}, Size{131, 33}));

TEST(Warp, FlowThatIsNotFiniteReadsInsideTheImage) {
  FlowField flow = reference::random_flow(20, 10, 6, 2.F);
  flow.dx.row(2)[3] = std::numeric_limits<float>::quiet_NaN();
  flow.dy.row(4)[5] = std::numeric_limits<float>::infinity();
  flow.dx.row(6)[7] = -3e38F;
  const std::vector<float> past(200, 2.F);
  std::vector<float> out(200);
  ThreadPool pool(1);
  warp(past.data(), 1, flow, out.data(), pool);
  for (const float value : out) EXPECT_FLOAT_EQ(value, 2.F);
}

TEST(Compose, RefusesFieldsOfDifferentSizes) {
  const FlowField a = reference::random_flow(8, 6, 1, 1.F), b = reference::random_flow(8, 7, 1, 1.F);
  FlowField out;
  ThreadPool pool(1);
  EXPECT_THROW(compose(a, b, out, pool), Error);
  EXPECT_THROW(compose(FlowField{}, FlowField{}, out, pool), Error);
}

// A field of constant motion stays constant, in pixels of the new grid.
TEST(ReadFlow, RescalesVectorsPerAxis) {
  InputSpec spec;
  spec.width = 100;
  spec.height = 50;
  std::vector<float> vectors;
  for (int i = 0; i < 40 * 30; ++i) vectors.insert(vectors.end(), {4.F, -3.F});
  FlowField out;
  out.resize(20, 10);
  ThreadPool pool(1);
  read_flow({vectors.data(), 40, 30, 0}, {400, 300}, spec, out, pool);
  for (int y = 0; y < 10; ++y) {
    for (int x = 0; x < 20; ++x) {
      ASSERT_NEAR(out.dx.row(y)[x], 2.F, 1e-5);
      ASSERT_NEAR(out.dy.row(y)[x], -1.F, 1e-5);
    }
  }
}

// Letterbox: a 200x100 frame takes rows 25 to 75 of a 100x100 input. A field linear in y must keep its values
// there.
TEST(ReadFlow, PutsTheFrameWhereTheLetterboxHasIt) {
  InputSpec spec;
  spec.width = 100;
  spec.height = 100;
  spec.resize = ResizeMode::letterbox;
  std::vector<float> vectors;
  for (int y = 0; y < 100; ++y) {
    for (int x = 0; x < 200; ++x)
      vectors.insert(vectors.end(), {static_cast<float>(x), static_cast<float>(y)});
  }
  FlowField out;
  out.resize(100, 100);
  ThreadPool pool(2);
  read_flow({vectors.data(), 200, 100, 0}, {200, 100}, spec, out, pool);
  for (int y = 26; y < 74; ++y) {
    for (int x = 1; x < 99; ++x) {
      ASSERT_NEAR(out.dx.row(y)[x], (2 * x + 0.5) / 2, 1e-3);
      ASSERT_NEAR(out.dy.row(y)[x], (2 * (y - 25) + 0.5) / 2, 1e-3);
    }
  }
  EXPECT_NEAR(out.dy.row(0)[50], 0, 1e-5);  // padding repeats the border
}

}  // namespace
}  // namespace stpl_rt
