#include <cmath>

#include "flow/dis.h"
#include "flow/dis_cuda.h"
#include "on_device.h"

namespace stpl_rt::cuda {
namespace {

// A picture with detail of all sizes, seen at (x + dx, y + dy), its right half twice as far on.
Image<std::uint8_t> picture(Size size, double dx, double dy, unsigned noise_seed) {
  Image<std::uint8_t> image(size.width, size.height);
  const std::vector<float> noise =
      reference::noise(static_cast<std::size_t>(size.width) * size.height, noise_seed, 2.F);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      const double share = x > size.width / 2 ? 2 : 1;
      const double u = x + share * dx;
      const double v = y + share * dy;
      const double value = 30 * std::sin(0.31 * u + 0.05 * v) + 30 * std::sin(0.29 * v - 0.08 * u + 1) +
                           30 * std::sin(0.055 * u + 0.07 * v + 2) + 20 * std::sin(0.011 * u * v);
      const double noisy = 127 + value + noise[static_cast<std::size_t>(y) * size.width + x];
      image.row(y)[x] = static_cast<std::uint8_t>(std::lround(std::clamp(noisy, 0.0, 255.0)));
    }
  }
  return image;
}

struct Case {
  int width, height;
  double dx, dy;
  DisOptions options{};
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.width << "x" << c.height << " by " << c.dx << ", " << c.dy << ", patch "
             << c.options.patch_size << "/" << c.options.patch_stride << ", scale " << c.options.finest_scale;
}

FlowField flow_on_device(const Case& c, const Image<std::uint8_t>& current, const Image<std::uint8_t>& past) {
  const Size size = {c.width, c.height};
  DisFlow dis(c.options);
  dis.prepare(size);
  Pyramid current_levels, past_levels;
  current_levels.prepare(dis.layout(size));
  past_levels.prepare(dis.layout(size));
  const DeviceImage<std::uint8_t> current_image = to_device(current.cview());
  const DeviceImage<std::uint8_t> past_image = to_device(past.cview());
  current_levels.build(current_image.cview(), kStream);
  past_levels.build(past_image.cview(), kStream);
  DeviceFlow flow;
  flow.resize(c.width, c.height);
  dis.compute(current_levels, past_levels, flow.planes(), kStream);
  return to_host(flow.cplanes());
}

// In pixels, in the mean. A GPU joins multiplications and additions otherwise, and a patch now and then takes
// another decision: what the runtime promises of it.
#if defined(STPL_RT_CUDA_EMULATED)
constexpr double kMostApart = 0.001;
#else
constexpr double kMostApart = 0.05;
#endif

class DisParity : public OnDevice<testing::TestWithParam<Case>> {};

TEST_P(DisParity, OfFlow) {
  const Case& c = GetParam();
  const Image<std::uint8_t> past = picture({c.width, c.height}, 0, 0, 1);
  const Image<std::uint8_t> current = picture({c.width, c.height}, c.dx, c.dy, 2);
  ThreadPool pool(1);
  FlowField expected;
  stpl_rt::DisFlow(c.options).compute(current.cview(), past.cview(), expected, pool);
  EXPECT_LT(mean_distance(flow_on_device(c, current, past), expected), kMostApart) << c;
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, DisParity,
    testing::Values(Case{320, 192, 1.3, -0.7}, Case{512, 256, -4, 3}, Case{323, 190, 6.25, -3.5},
                    Case{131, 97, 0.5, 0.25}, Case{97, 211, -11, 7}, Case{33, 32, 1, 0}, Case{31, 40, 1, 1},
                    Case{1, 1, 0, 0}, Case{200, 120, 2.5, 1.25, {.finest_scale = 0}},
                    Case{200, 120, 2.5, 1.25, {.finest_scale = 1, .patch_stride = 8}},
                    Case{201, 123, 2.5, 1.25, {.finest_scale = 1, .patch_size = 5, .patch_stride = 2}},
                    Case{201, 123, 2.5, 1.25, {.finest_scale = 1, .patch_size = 12, .patch_stride = 5}},
                    Case{320, 192, 2.5, 1.25, {.finest_scale = 1, .patch_size = 20, .patch_stride = 20}},
                    Case{320, 192, 2.5, 1.25, {.finest_scale = 1, .patch_size = 32, .patch_stride = 16}},
                    Case{320, 192, 2.5, 1.25, {.iterations = 1}},
                    Case{320, 192, 2.5, 1.25, {.iterations = 50}}));

class PyramidParity : public OnDevice<testing::TestWithParam<Case>> {};

TEST_P(PyramidParity, OfLevelsAndTheirBorders) {
  const Case& c = GetParam();
  const Size size = {c.width, c.height};
  const Image<std::uint8_t> image = picture(size, 0, 0, 1);
  ThreadPool pool(1);
  stpl_rt::Pyramid expected;
  stpl_rt::DisFlow(c.options).build(image.cview(), expected, pool);
  Pyramid levels;
  levels.prepare(pyramid_layout(c.options, size));
  const DeviceImage<std::uint8_t> device_image = to_device(image.cview());
  levels.build(device_image.cview(), kStream);
  const PyramidLayout layout = expected.layout();
  ASSERT_LE(layout.finest, layout.coarsest);
  const auto with_border = [&](ImageView<const float> level) -> ImageView<const float> {
    return {level.row(-layout.border) - layout.border, level.width + 2 * layout.border,
            level.height + 2 * layout.border, level.stride};
  };
  for (int l = layout.finest; l <= layout.coarsest; ++l) {
    const Image<float> found = to_host(with_border(levels.level(l)));
    const ImageView<const float> wanted = with_border(expected.level(l));
    EXPECT_EQ(count_differing(found.cview(), wanted, 0), 0) << c << ", level " << l;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, PyramidParity,
                         testing::Values(Case{320, 192, 0, 0}, Case{323, 190, 0, 0},
                                         Case{201, 123, 0, 0, {.finest_scale = 0, .patch_size = 5}},
                                         Case{201, 123, 0, 0, {.finest_scale = 1, .patch_size = 12}},
                                         Case{1100, 1030, 0, 0, {.finest_scale = 6}}));

class DisOnDevice : public OnDevice<testing::Test> {};

TEST_F(DisOnDevice, OfAnImageIntoItselfIsZero) {
  const Image<std::uint8_t> image = picture({131, 97}, 0, 0, 1);
  const FlowField flow = flow_on_device({131, 97, 0, 0}, image, image);
  FlowField zero;
  zero.resize(131, 97);
  zero.fill(0.F);
  EXPECT_EQ(mean_distance(flow, zero), 0);
}

TEST_F(DisOnDevice, RefusesWhatWasNotPreparedTogether) {
  EXPECT_THROW(DisFlow({.patch_size = 33}), Error);
  DisFlow dis;
  dis.prepare({64, 64});
  Pyramid small, large;
  small.prepare(dis.layout({64, 64}));
  large.prepare(dis.layout({128, 64}));
  DeviceFlow flow;
  flow.resize(64, 64);
  EXPECT_THROW(dis.compute(small, large, flow.planes(), kStream), Error);
  DeviceFlow other;
  other.resize(63, 64);
  EXPECT_THROW(dis.compute(small, small, other.planes(), kStream), Error);
  DeviceImage<std::uint8_t> image;
  image.resize(63, 64);
  EXPECT_THROW(small.build(image.cview(), kStream), Error);
}

}  // namespace
}  // namespace stpl_rt::cuda
