// What is summed over a frame: similarity, drift, values that are not finite.
#include <cmath>
#include <limits>

#include "on_device.h"
#include "ops/finite.h"
#include "ops/finite_cuda.h"
#include "ops/similarity.h"
#include "ops/similarity_cuda.h"
#include "segmenter/drift.h"
#include "segmenter/drift_cuda.h"

namespace stpl_rt::cuda {
namespace {

Image<std::uint8_t> textured(Size size, int shift, unsigned seed) {
  const std::vector<float> noise =
      reference::noise(static_cast<std::size_t>(size.width) * size.height, seed, 8.F);
  Image<std::uint8_t> image(size.width, size.height);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      const double value = 120 + 40 * std::sin(0.4 * (x + shift)) + 40 * std::sin(0.3 * y + 0.1 * x);
      const double noisy = value + noise[static_cast<std::size_t>(y) * size.width + x];
      image.row(y)[x] = static_cast<std::uint8_t>(std::lround(std::clamp(noisy, 0.0, 255.0)));
    }
  }
  return image;
}

class SumsParity : public OnDevice<testing::TestWithParam<Size>> {};

void expect_near(const Similarity& found, const Similarity& expected) {
  EXPECT_EQ(found.blocks, expected.blocks);
  EXPECT_NEAR(found.correlation, expected.correlation, 1e-4);
  EXPECT_NEAR(found.residual, expected.residual, 1e-3 * (1 + expected.residual));
}

TEST_P(SumsParity, OfSimilarity) {
  const Size size = GetParam();
  const Image<std::uint8_t> current = textured(size, 3, 1), past = textured(size, 0, 2);
  const FlowField flow = reference::random_flow(size.width, size.height, 3, 2.F);
  const auto device_current = to_device(current.cview());
  const auto device_past = to_device(past.cview());
  const DeviceFlow device_flow = to_device(flow);
  DeviceBuffer<BlockMoments> scratch;
  scratch.reserve(kSimilarityScratch);
  DeviceBuffer<PairMoments> out;
  out.reserve(1);
  similarity(device_current.cview(), device_past.cview(), device_flow.cplanes(), scratch.data(), out.data(),
             kStream);
  const PairMoments found = to_host<PairMoments>(out.data(), 1)[0];
  const int blocks = BlockSpread(size).count;
  expect_near(to_similarity(found.along_flow, blocks),
              stpl_rt::similarity(current.cview(), past.cview(), &flow));
  expect_near(to_similarity(found.in_place, blocks),
              stpl_rt::similarity(current.cview(), past.cview(), nullptr));
}

TEST_P(SumsParity, OfDrift) {
  const Size size = GetParam();
  const Image<std::uint8_t> current = textured(size, 3, 1), key = textured(size, 0, 2);
  const FlowField flow = reference::random_flow(size.width, size.height, 3, 6.F);
  const auto device_current = to_device(current.cview());
  const auto device_key = to_device(key.cview());
  const DeviceFlow device_flow = to_device(flow);
  DeviceBuffer<float> scratch;
  scratch.reserve(kDriftScratch);
  DeviceBuffer<double> out;
  out.reserve(1);
  Image<float> validity(size.width, size.height);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) validity.row(y)[x] = static_cast<float>((x + 3 * y) % 7) / 6.F;
  }
  const auto device_validity = to_device(validity.cview());
  for (const bool checked : {false, true}) {
    drift(device_current.cview(), device_key.cview(), device_flow.cplanes(),
          checked ? device_validity.cview() : ImageView<const float>{}, scratch.data(), out.data(), kStream);
    const double expected = stpl_rt::drift(current.cview(), key.cview(), flow,
                                           checked ? validity.cview() : ImageView<const float>{});
    // A residual on the threshold may fall on either side.
    EXPECT_NEAR(to_host<double>(out.data(), 1)[0], expected, 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SumsParity,
                         testing::Values(Size{1, 1}, Size{15, 40}, Size{16, 16}, Size{33, 17}, Size{131, 97},
                                         Size{512, 256}, Size{640, 480}, Size{3, 9000}));

template <class T>
void check_not_finite() {
  for (const std::size_t size : {std::size_t{1}, std::size_t{31}, std::size_t{1024}, std::size_t{70001}}) {
    std::vector<float> values = reference::noise(size, 1, 100.F);
    const auto count = [&] {
      const DeviceBuffer<T> memory = to_device(to_type<T>(values));
      DeviceBuffer<int> out = to_device(std::vector<int>{12345});
      count_not_finite(static_cast<const T*>(memory.data()), size, out.data(), kStream);
      return to_host<int>(out.data(), 1)[0];
    };
    EXPECT_EQ(count(), 0);
    values[size - 1] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(count(), 1);
    values[0] = -std::numeric_limits<float>::infinity();
    values[size / 2] = std::numeric_limits<float>::infinity();
    EXPECT_EQ(count(), static_cast<int>(stpl_rt::count_not_finite(values)));
  }
}

class FiniteOnDevice : public OnDevice<testing::Test> {};
TEST_F(FiniteOnDevice, CountsFloats) { check_not_finite<float>(); }
TEST_F(FiniteOnDevice, CountsHalves) { check_not_finite<Half>(); }

// All of them, there and back.
TEST(Half, IsKeptByAFloat) {
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const float value = to_float(Half{static_cast<std::uint16_t>(bits)});
    if (std::isnan(value)) continue;
    ASSERT_EQ(from_float<Half>(value).bits, bits);
  }
}

TEST(Half, IsTheNearestToAFloat) {
  const auto rounded = [](float value) { return to_float(from_float<Half>(value)); };
  EXPECT_EQ(rounded(1.F + 0x1p-11F), 1.F);              // a tie, to even
  EXPECT_EQ(rounded(1.F + 0x1.8p-10F), 1.F + 0x1p-9F);  // a tie, to even
  EXPECT_EQ(rounded(1.F + 0x1.01p-11F), 1.F + 0x1p-10F);
  EXPECT_EQ(rounded(65519.F), 65504.F);
  EXPECT_TRUE(std::isinf(rounded(65520.F)));
  EXPECT_EQ(rounded(0x1p-25F), 0.F);
  EXPECT_EQ(rounded(0x1.8p-25F), 0x1p-24F);
  EXPECT_EQ(rounded(-0x1.8p-24F), -0x1p-23F);
  EXPECT_TRUE(std::isnan(rounded(std::nanf(""))));
  EXPECT_EQ(to_float(Half{0x3C00}), 1.F);
  EXPECT_EQ(to_float(Half{0x0001}), 0x1p-24F);
}

}  // namespace
}  // namespace stpl_rt::cuda
