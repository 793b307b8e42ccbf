#include <cmath>

#include "on_device.h"
#include "ops/frame_rows.h"
#include "ops/preprocess.h"
#include "ops/preprocess_cuda.h"

namespace stpl_rt::cuda {
namespace {

struct Case {
  int frame_width, frame_height;
  int width, height;  // input
  PixelFormat format = PixelFormat::rgb;
  ColorOrder order = ColorOrder::rgb;
  ResizeMode resize = ResizeMode::stretch;
  ResizeFilter filter = ResizeFilter::bilinear;
  bool lut = false;
  int extra_stride = 0;
  YuvEncoding encoding = YuvEncoding::bt601;
  int grid_width = 0, grid_height = 0;  // of luma; 0: the input's

  [[nodiscard]] Size grid() const {
    return {grid_width > 0 ? grid_width : width, grid_height > 0 ? grid_height : height};
  }
  [[nodiscard]] InputSpec spec() const {
    InputSpec spec;
    spec.width = width;
    spec.height = height;
    spec.color_order = order;
    spec.mean = {120.F, 110.F, 100.F};
    spec.std = {60.F, 50.F, 40.F};
    spec.resize = resize;
    spec.filter = filter;
    if (!lut) return spec;
    spec.lut.emplace();
    for (int k = 0; k < 3; ++k) {
      for (int v = 0; v < 256; ++v) (*spec.lut)[k][v] = static_cast<std::uint8_t>((v * (k + 2) + 17 * k) / 5);
    }
    return spec;
  }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.frame_width << "x" << c.frame_height << " to " << c.width << "x" << c.height << " format "
             << static_cast<int>(c.format) << (c.order == ColorOrder::bgr ? " as bgr" : "")
             << (c.resize == ResizeMode::letterbox ? " letterbox" : "")
             << (c.filter == ResizeFilter::area ? " area" : "") << (c.lut ? " lut" : "") << " stride +"
             << c.extra_stride << " encoding " << static_cast<int>(c.encoding);
}

// A frame in host memory, exactly as long as it must be, and the same frame in the device's.
struct Frames {
  explicit Frames(const Case& c) {
    host.width = c.frame_width;
    host.height = c.frame_height;
    host.format = c.format;
    host.encoding = c.encoding;
    host.stride = static_cast<std::ptrdiff_t>(c.frame_width) * bytes_per_pixel(c.format) + c.extra_stride;
    const bool nv12 = c.format == PixelFormat::nv12;
    const std::ptrdiff_t chroma_row = half_up(c.frame_width) * (nv12 ? 2 : 1) + c.extra_stride;
    const std::ptrdiff_t chroma_size = is_yuv(c.format) ? chroma_row * half_up(c.frame_height) : 0;
    const std::ptrdiff_t size = host.stride * c.frame_height;
    bytes = reference::bytes(static_cast<std::size_t>(size + chroma_size * (nv12 ? 1 : 2)), 9);
    memory = to_device(bytes);
    if (is_yuv(c.format)) host.chroma_stride = chroma_row;
    device = host;
    for (auto [frame, data] : {std::pair{&host, static_cast<const std::uint8_t*>(bytes.data())},
                               std::pair{&device, static_cast<const std::uint8_t*>(memory.data())}}) {
      frame->data = data;
      if (is_yuv(c.format)) frame->chroma = data + size;
      if (c.format == PixelFormat::i420) frame->chroma_cr = data + size + chroma_size;
    }
  }
  std::vector<unsigned char> bytes;
  DeviceBuffer<unsigned char> memory;
  Frame host, device;
};

class PreprocessParity : public OnDevice<testing::TestWithParam<Case>> {
 protected:
  template <class T>
  void check_input(double most) const {
    const Case& c = GetParam();
    const Frames frames(c);
    const std::size_t count = 3 * static_cast<std::size_t>(c.width) * static_cast<std::size_t>(c.height);
    std::vector<float> expected(count);
    ThreadPool pool(1);
    stpl_rt::preprocess(frames.host, c.spec(), expected.data(), pool);
    FramePlan plan;
    plan.prepare({c.frame_width, c.frame_height}, c.spec(), c.grid(), kStream);
    const DeviceBuffer<T> out = to_device(std::vector<T>(count, from_float<T>(-1000.F)));
    preprocess(frames.device, plan, out.data(), kStream);
    const std::vector<float> found = to_floats(to_host<T>(out.data(), count));
    for (std::size_t i = 0; i < count; ++i) ASSERT_NEAR(found[i], expected[i], most) << c << " at " << i;
  }
};

TEST_P(PreprocessParity, OfFloatInput) { check_input<float>(1e-4); }
TEST_P(PreprocessParity, OfHalfInput) { check_input<Half>(3e-3); }

TEST_P(PreprocessParity, OfLuma) {
  const Case& c = GetParam();
  const Frames frames(c);
  Image<std::uint8_t> expected(c.grid().width, c.grid().height);
  ThreadPool pool(1);
  stpl_rt::luma(frames.host, c.spec(), expected.view(), pool);
  FramePlan plan;
  plan.prepare({c.frame_width, c.frame_height}, c.spec(), c.grid(), kStream);
  DeviceImage<std::uint8_t> out;
  out.resize(c.grid().width, c.grid().height);
  luma(frames.device, plan, out.view(), kStream);
  const Image<std::uint8_t> found = to_host(out.cview());
  // Halves may round either way.
  EXPECT_EQ(count_differing(found.cview(), expected.cview(), 1), 0) << c;
  EXPECT_LE(count_differing(found.cview(), expected.cview(), 0), 1 + c.grid().width * c.grid().height / 100)
      << c;
}

constexpr auto kLetterbox = ResizeMode::letterbox;
constexpr auto kStretch = ResizeMode::stretch;
constexpr auto kArea = ResizeFilter::area;
constexpr auto kBilinear = ResizeFilter::bilinear;

INSTANTIATE_TEST_SUITE_P(
    Frames, PreprocessParity,
    testing::Values(Case{64, 48, 64, 48}, Case{64, 48, 64, 48, PixelFormat::bgr, ColorOrder::bgr},
                    Case{64, 48, 64, 48, PixelFormat::gray, ColorOrder::rgb, kStretch, kBilinear, true},
                    Case{131, 97, 64, 32, PixelFormat::rgb, ColorOrder::bgr, kStretch, kBilinear, true, 5},
                    Case{131, 97, 64, 32, PixelFormat::bgr, ColorOrder::rgb, kStretch, kArea, true, 7},
                    Case{40, 30, 101, 77, PixelFormat::bgr},
                    Case{100, 60, 64, 64, PixelFormat::rgb, ColorOrder::rgb, kLetterbox, kBilinear, true},
                    Case{61, 100, 64, 48, PixelFormat::gray, ColorOrder::rgb, kLetterbox, kArea},
                    Case{320, 180, 64, 32, PixelFormat::nv12, ColorOrder::rgb, kStretch, kArea, false, 16},
                    Case{64, 32, 64, 32, PixelFormat::nv12, ColorOrder::bgr, kStretch, kBilinear, true, 0,
                         YuvEncoding::bt709},
                    Case{63, 31, 64, 32, PixelFormat::i420, ColorOrder::rgb, kStretch, kBilinear, false, 3,
                         YuvEncoding::bt601_full},
                    Case{63, 31, 40, 40, PixelFormat::i420, ColorOrder::rgb, kLetterbox, kArea, true, 1,
                         YuvEncoding::bt709_full},
                    Case{1, 1, 16, 8}, Case{1, 1, 16, 8, PixelFormat::nv12}, Case{37, 1, 1, 1},
                    Case{1, 50, 8, 8, PixelFormat::i420, ColorOrder::rgb, kLetterbox},
                    Case{200, 100, 64, 32, PixelFormat::rgb, ColorOrder::rgb, kStretch, kBilinear, false, 0,
                         YuvEncoding::bt601, 33, 21}));

class PreprocessOnDevice : public OnDevice<testing::Test> {};

// A frame that lies upside down has a negative stride.
TEST_F(PreprocessOnDevice, TakesRowsThatRunUpwards) {
  const Case c{40, 30, 40, 30};
  Frames frames(c);
  for (Frame* frame : {&frames.host, &frames.device}) {
    frame->data += frame->stride * (c.frame_height - 1);
    frame->stride = -frame->stride;
  }
  std::vector<float> expected(3 * 40 * 30);
  ThreadPool pool(1);
  stpl_rt::preprocess(frames.host, c.spec(), expected.data(), pool);
  FramePlan plan;
  plan.prepare({40, 30}, c.spec(), c.grid(), kStream);
  DeviceBuffer<float> out;
  out.reserve(expected.size());
  preprocess(frames.device, plan, out.data(), kStream);
  const std::vector<float> found = to_host<float>(out.data(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-4) << i;
}

TEST_F(PreprocessOnDevice, RefusesFramesOfAnotherSizeAndWhatCannotBeRead) {
  const Case c{40, 30, 32, 32};
  const Frames frames(c);
  FramePlan plan;
  plan.prepare({41, 30}, c.spec(), c.grid(), kStream);
  float* nowhere = nullptr;
  EXPECT_THROW(preprocess(frames.device, plan, nowhere, kStream), Error);
  EXPECT_THROW(preprocess({}, plan, nowhere, kStream), Error);
  EXPECT_THROW(luma(frames.device, plan, {}, kStream), Error);
  InputSpec spec = c.spec();
  spec.std[1] = 0;
  EXPECT_THROW(plan.prepare({40, 30}, spec, c.grid(), kStream), Error);
  EXPECT_THROW(plan.prepare({40, 30}, c.spec(), {0, 4}, kStream), Error);
}

}  // namespace
}  // namespace stpl_rt::cuda
