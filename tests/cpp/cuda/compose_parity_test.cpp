#include <limits>

#include "on_device.h"
#include "ops/compose.h"
#include "ops/compose_cuda.h"
#include "ops/warp.h"
#include "ops/warp_cuda.h"

namespace stpl_rt::cuda {
namespace {

constexpr double kRounding = 2e-4;  // of positions of a few hundred pixels, times the slopes there

void expect_near(const FlowField& expected, const FlowField& found, Size size) {
  EXPECT_EQ(count_differing(expected.dx.cview(), found.dx.cview(), kRounding), 0)
      << size.width << "x" << size.height;
  EXPECT_EQ(count_differing(expected.dy.cview(), found.dy.cview(), kRounding), 0)
      << size.width << "x" << size.height;
}

Image<std::uint8_t> bytes_image(Size size, unsigned seed) {
  const std::vector<unsigned char> bytes =
      reference::bytes(static_cast<std::size_t>(size.width) * size.height, seed);
  Image<std::uint8_t> image(size.width, size.height);
  for (int y = 0; y < size.height; ++y) {
    std::copy_n(bytes.data() + static_cast<std::ptrdiff_t>(y) * size.width, size.width, image.row(y));
  }
  return image;
}

class FlowParity : public OnDevice<testing::TestWithParam<Size>> {};

TEST_P(FlowParity, OfComposition) {
  const Size size = GetParam();
  const FlowField latest = reference::random_flow(size.width, size.height, 1, 5.F);
  const FlowField past = reference::random_flow(size.width, size.height, 2, 9.F);
  ThreadPool pool(1);
  FlowField expected;
  stpl_rt::compose(latest, past, expected, pool);
  const DeviceFlow device_latest = to_device(latest);
  const DeviceFlow device_past = to_device(past);
  DeviceFlow out;
  out.resize(size.width, size.height);
  compose(device_latest.cplanes(), device_past.cplanes(), out.planes(), kStream);
  expect_near(expected, to_host(out.cplanes()), size);
  compose(device_latest.cplanes(), device_past.cplanes(), device_latest.planes(), kStream);  // in place
  expect_near(expected, to_host(device_latest.cplanes()), size);
  EXPECT_THROW(compose(device_latest.cplanes(), device_past.cplanes(), device_past.planes(), kStream), Error);
}

TEST_P(FlowParity, OfReturn) {
  const Size size = GetParam();
  const FlowField latest = reference::random_flow(size.width, size.height, 1, 3.F);
  const FlowField back = reference::random_flow(size.width, size.height, 2, 1.F);
  Image<float> expected(size.width, size.height);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) expected.row(y)[x] = static_cast<float>((x + 3 * y) % 7) / 6.F;
  }
  const auto found = to_device(expected.cview());
  ThreadPool pool(1);
  stpl_rt::check_return(latest, back, expected, pool);
  const DeviceFlow device_latest = to_device(latest);
  const DeviceFlow device_back = to_device(back);
  check_return(device_latest.cplanes(), device_back.cplanes(), found.view(), kStream);
  EXPECT_EQ(count_differing(expected.cview(), to_host(found.cview()).cview(), kRounding), 0);
}

TEST_P(FlowParity, OfValidity) {
  const Size size = GetParam();
  const FlowField latest = reference::random_flow(size.width, size.height, 1, 1.F);
  const FlowField composed = reference::random_flow(size.width, size.height, 2, 3.F);
  // Little contrast: residuals on both sides of the ramp.
  Image<std::uint8_t> current = bytes_image(size, 3), past = bytes_image(size, 4);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      current.row(y)[x] = static_cast<std::uint8_t>(100 + current.row(y)[x] / 6);
      past.row(y)[x] = static_cast<std::uint8_t>(100 + past.row(y)[x] / 6);
    }
  }
  Image<float> past_validity(size.width, size.height);
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) past_validity.row(y)[x] = static_cast<float>((x + 3 * y) % 7) / 6.F;
  }
  ThreadPool pool(1);
  const auto device_current = to_device(current.cview());
  const auto device_past = to_device(past.cview());
  const auto device_validity = to_device(past_validity.cview());
  const DeviceFlow device_latest = to_device(latest);
  const DeviceFlow device_composed = to_device(composed);
  DeviceImage<float> out;
  out.resize(size.width, size.height);
  Image<float> expected;
  for (const bool carried : {false, true}) {
    stpl_rt::validity(current.cview(), past.cview(), latest,
                      carried ? past_validity.cview() : ImageView<const float>{}, composed, expected, pool);
    validity(device_current.cview(), device_past.cview(), device_latest.cplanes(),
             carried ? device_validity.cview() : ImageView<const float>{}, device_composed.cplanes(),
             out.view(), kStream);
    EXPECT_EQ(count_differing(expected.cview(), to_host(out.cview()).cview(), 1e-4), 0)
        << size.width << "x" << size.height << (carried ? " carried" : "");
  }
  EXPECT_THROW(validity(device_current.cview(), device_past.cview(), device_latest.cplanes(), out.cview(),
                        device_composed.cplanes(), out.view(), kStream),
               Error);
}

TEST_P(FlowParity, OfFlowFromElsewhere) {
  const Size grid = GetParam();
  InputSpec spec;
  spec.width = 2 * grid.width;
  spec.height = 2 * grid.height;
  for (const ResizeMode mode : {ResizeMode::stretch, ResizeMode::letterbox}) {
    spec.resize = mode;
    for (const Size size : {grid, Size{37, 23}, Size{1, 1}, Size{200, 3}}) {
      const int stride = 2 * size.width + 3;
      const std::vector<float> vectors =
          reference::noise(static_cast<std::size_t>(stride) * size.height, 5, 4.F);
      const Size frame = {3 * grid.width + 50, 2 * grid.height};
      FlowField expected;
      expected.resize(grid.width, grid.height);
      ThreadPool pool(1);
      FlowView view = {vectors.data(), size.width, size.height, stride};
      stpl_rt::read_flow(view, frame, spec, expected, pool);
      const DeviceBuffer<float> memory = to_device(vectors);
      view.data = memory.data();
      DeviceFlow out;
      out.resize(grid.width, grid.height);
      read_flow(view, frame, spec, out.planes(), kStream);
      expect_near(expected, to_host(out.cplanes()), size);
    }
  }
}

template <class T>
void check_warp(Size size, float rounding) {
  const int channels = 5;
  const std::size_t count = static_cast<std::size_t>(channels) * size.width * size.height;
  const std::vector<T> past = to_type<T>(reference::noise(count, 6, 3.F));
  const std::vector<float> floats = to_floats(past);
  const FlowField flow = reference::random_flow(size.width, size.height, 7, 6.F);
  std::vector<float> expected(count);
  ThreadPool pool(1);
  stpl_rt::warp(floats.data(), channels, flow, expected.data(), pool);
  const DeviceBuffer<T> planes = to_device(past);
  const DeviceFlow device_flow = to_device(flow);
  DeviceBuffer<T> out;
  out.reserve(count);
  warp(static_cast<const T*>(planes.data()), channels, device_flow.cplanes(), out.data(), kStream);
  const std::vector<float> found = to_floats(to_host<T>(out.data(), count));
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_NEAR(found[i], expected[i], rounding * (1 + std::abs(expected[i])))
        << size.width << "x" << size.height;
  }
}

TEST_P(FlowParity, OfWarpedFloats) { check_warp<float>(GetParam(), 2e-4F); }
TEST_P(FlowParity, OfWarpedHalves) { check_warp<Half>(GetParam(), 2e-3F); }

INSTANTIATE_TEST_SUITE_P(Sizes, FlowParity,
                         testing::Values(Size{1, 1}, Size{1, 9}, Size{9, 1}, Size{2, 2}, Size{33, 17},
                                         Size{64, 48}, Size{131, 97}, Size{256, 128}));

class FlowOnDevice : public OnDevice<testing::Test> {};

TEST_F(FlowOnDevice, RefusesSizesThatDiffer) {
  DeviceFlow small, large;
  small.resize(4, 4);
  large.resize(5, 4);
  DeviceImage<std::uint8_t> image;
  image.resize(4, 4);
  DeviceImage<float> out;
  out.resize(4, 4);
  EXPECT_THROW(compose(small.cplanes(), large.cplanes(), small.planes(), kStream), Error);
  EXPECT_THROW(
      validity(image.cview(), image.cview(), small.cplanes(), {}, large.cplanes(), out.view(), kStream),
      Error);
  EXPECT_THROW(read_flow({}, {4, 4}, {}, small.planes(), kStream), Error);
  EXPECT_THROW(warp<float>(nullptr, 1, small.cplanes(), out.view().data, kStream), Error);
}

}  // namespace
}  // namespace stpl_rt::cuda
