#include "ops/preprocess.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ops/geometry.h"
#include "reference.h"

namespace stpl_rt {
namespace {

struct Case {
  int frame_width, frame_height;
  int width, height;
  PixelFormat format = PixelFormat::rgb;
  ColorOrder order = ColorOrder::rgb;
  ResizeMode resize = ResizeMode::stretch;
  ResizeFilter filter = ResizeFilter::bilinear;
  bool lut = false;
  int extra_stride = 0;
  bool flipped = false;  // a negative stride
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.frame_width << "x" << c.frame_height << " to " << c.width << "x" << c.height << " format "
             << static_cast<int>(c.format) << (c.order == ColorOrder::bgr ? " as bgr" : "")
             << (c.resize == ResizeMode::letterbox ? " letterbox" : "")
             << (c.filter == ResizeFilter::area ? " area" : "") << (c.lut ? " lut" : "")
             << (c.flipped ? " flipped" : "");
}

InputSpec spec_of(const Case& c) {
  InputSpec spec;
  spec.width = c.width;
  spec.height = c.height;
  spec.color_order = c.order;
  spec.mean = {120.F, 110.F, 100.F};
  spec.std = {60.F, 50.F, 40.F};
  spec.resize = c.resize;
  spec.filter = c.filter;
  if (c.lut) {
    spec.lut.emplace();
    for (int k = 0; k < 3; ++k) {
      for (int v = 0; v < 256; ++v) (*spec.lut)[k][v] = static_cast<std::uint8_t>((v * (k + 2) + 17 * k) / 5);
    }
  }
  return spec;
}

struct Pixels {
  explicit Pixels(const Case& c) : stride(c.frame_width * bytes_per_pixel(c.format) + c.extra_stride) {
    bytes = reference::bytes(static_cast<std::size_t>(stride) * c.frame_height, 9);
    frame = {.data = bytes.data(),
             .width = c.frame_width,
             .height = c.frame_height,
             .stride = stride,
             .format = c.format};
    if (c.flipped) {
      frame.data = bytes.data() + static_cast<std::ptrdiff_t>(stride) * (c.frame_height - 1);
      frame.stride = -stride;
    }
  }
  [[nodiscard]] int colour(int x, int y, int k) const {
    const std::uint8_t* row = frame.data + y * frame.stride;
    switch (frame.format) {
      case PixelFormat::rgb:
        return row[3 * x + k];
      case PixelFormat::bgr:
        return row[3 * x + 2 - k];
      case PixelFormat::gray:
        return row[x];
      default:
        break;  // YUV: yuv_test.cpp
    }
    return -1;
  }
  std::ptrdiff_t stride;
  std::vector<unsigned char> bytes;
  Frame frame;
};

// Weight of source element k for an output centred at `centre` of an axis with n elements, by definition.
double weight(double centre, double scale, int k, int n, bool area) {
  if (area && scale > 1) {
    const double low = std::max(centre + 0.5 - scale / 2, 0.0),
                 high = std::min(centre + 0.5 + scale / 2, 1.0 * n);
    return std::max(0.0, std::min(high, k + 1.0) - std::max(low, 1.0 * k)) / (high - low);
  }
  return std::max(0.0, 1 - std::abs(std::clamp(centre, 0.0, n - 1.0) - k));
}

template <class Value>
double resampled(const Case& c, const Rect& content, int x, int y, bool area, Value value) {
  const double sx = static_cast<double>(c.frame_width) / content.width;
  const double sy = static_cast<double>(c.frame_height) / content.height;
  const double cx = (x - content.x + 0.5) * sx - 0.5, cy = (y - content.y + 0.5) * sy - 0.5;
  double sum = 0;
  for (int v = 0; v < c.frame_height; ++v) {
    const double wy = weight(cy, sy, v, c.frame_height, area);
    if (wy == 0) continue;
    for (int u = 0; u < c.frame_width; ++u) {
      const double wx = weight(cx, sx, u, c.frame_width, area);
      if (wx != 0) sum += wx * wy * value(u, v);
    }
  }
  return sum;
}

bool inside(const Rect& r, int x, int y) {
  return x >= r.x && x < r.x + r.width && y >= r.y && y < r.y + r.height;
}

class PreprocessTest : public testing::TestWithParam<Case> {};

TEST_P(PreprocessTest, IsTableThenResizeThenNormalise) {
  const Case& c = GetParam();
  const InputSpec spec = spec_of(c);
  const Pixels pixels(c);
  const Rect content = content_rect({c.frame_width, c.frame_height}, spec);
  std::vector<float> out(static_cast<std::size_t>(3) * c.width * c.height, 1e9F);
  ThreadPool pool(2);
  preprocess(pixels.frame, spec, out.data(), pool);
  for (int p = 0; p < 3; ++p) {
    const int k = c.order == ColorOrder::bgr ? 2 - p : p;
    const auto value = [&](int u, int v) {
      const int byte = pixels.colour(u, v, k);
      return static_cast<double>(spec.lut ? (*spec.lut)[k][byte] : byte);
    };
    for (int y = 0; y < c.height; ++y) {
      for (int x = 0; x < c.width; ++x) {
        double expected = 0;
        if (inside(content, x, y)) {
          expected = (resampled(c, content, x, y, c.filter == ResizeFilter::area, value) - spec.mean[p]) /
                     spec.std[p];
        }
        ASSERT_NEAR(out[(static_cast<std::size_t>(p) * c.height + y) * c.width + x], expected, 2e-5)
            << c << ": plane " << p << " at " << x << ", " << y;
      }
    }
  }
}

TEST_P(PreprocessTest, LumaIsResampledLikeTheInput) {
  const Case& c = GetParam();
  const InputSpec spec = spec_of(c);
  const Pixels pixels(c);
  const Rect content = content_rect({c.frame_width, c.frame_height}, spec);
  Image<std::uint8_t> out(c.width, c.height);
  ThreadPool pool(2);
  luma(pixels.frame, spec, out.view(), pool);
  const auto value = [&](int u, int v) {
    return 77 * pixels.colour(u, v, 0) + 150 * pixels.colour(u, v, 1) + 29 * pixels.colour(u, v, 2);
  };
  for (int y = 0; y < c.height; ++y) {
    for (int x = 0; x < c.width; ++x) {
      if (!inside(content, x, y)) continue;
      const double expected = resampled(c, content, x, y, true, value) / 256;
      ASSERT_NEAR(out.row(y)[x], expected, 0.502) << c << " at " << x << ", " << y;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Frames, PreprocessTest,
    testing::Values(
        Case{32, 24, 32, 24}, Case{32, 24, 32, 24, PixelFormat::bgr, ColorOrder::bgr},
        Case{33, 17, 33, 17, PixelFormat::gray, ColorOrder::rgb, ResizeMode::stretch, ResizeFilter::bilinear,
             true},
        Case{31, 9, 31, 9, PixelFormat::bgr, ColorOrder::rgb, ResizeMode::stretch, ResizeFilter::bilinear,
             true, 7, true},
        Case{40, 30, 16, 11}, Case{20, 10, 61, 43, PixelFormat::bgr},
        Case{50, 40, 21, 13, PixelFormat::rgb, ColorOrder::bgr, ResizeMode::stretch, ResizeFilter::area, true,
             5, true},
        Case{48, 36, 16, 12, PixelFormat::gray, ColorOrder::rgb, ResizeMode::stretch, ResizeFilter::area},
        Case{30, 20, 15, 41, PixelFormat::rgb, ColorOrder::rgb, ResizeMode::stretch, ResizeFilter::area},
        Case{1, 1, 9, 5}, Case{13, 11, 1, 1}, Case{1, 9, 7, 4, PixelFormat::gray},
        Case{13, 11, 1, 1, PixelFormat::rgb, ColorOrder::rgb, ResizeMode::stretch, ResizeFilter::area},
        Case{60, 20, 32, 32, PixelFormat::rgb, ColorOrder::rgb, ResizeMode::letterbox},
        Case{20, 61, 32, 30, PixelFormat::bgr, ColorOrder::rgb, ResizeMode::letterbox, ResizeFilter::area,
             true},
        Case{32, 20, 32, 32, PixelFormat::rgb, ColorOrder::rgb, ResizeMode::letterbox},
        Case{5, 5, 32, 16, PixelFormat::gray, ColorOrder::rgb, ResizeMode::letterbox, ResizeFilter::bilinear,
             true}));

TEST(Luma, PaddingRepeatsTheFramesBorder) {
  Case c{40, 20, 32, 32};
  c.resize = ResizeMode::letterbox;
  const Pixels pixels(c);
  const InputSpec spec = spec_of(c);
  const Rect content = content_rect({40, 20}, spec);
  ASSERT_EQ(content.y, 8);
  Image<std::uint8_t> out(32, 32);
  ThreadPool pool(1);
  luma(pixels.frame, spec, out.view(), pool);
  for (int x = 0; x < 32; ++x) {
    for (int y = 1; y < 8; ++y) ASSERT_EQ(out.row(y)[x], out.row(0)[x]);
    for (int y = 25; y < 32; ++y) ASSERT_EQ(out.row(y)[x], out.row(31)[x]);
  }
}

TEST(Luma, TakesAnyGrid) {
  const Case c{40, 30, 20, 15};
  Pixels pixels(c);
  std::fill(pixels.bytes.begin(), pixels.bytes.end(), static_cast<unsigned char>(123));
  ThreadPool pool(2);
  for (const Size size : {Size{1, 1}, Size{10, 7}, Size{20, 15}, Size{40, 30}, Size{90, 77}}) {
    Image<std::uint8_t> out(size.width, size.height);
    luma(pixels.frame, spec_of(c), out.view(), pool);
    for (int y = 0; y < size.height; ++y) {
      for (int x = 0; x < size.width; ++x) ASSERT_EQ(out.row(y)[x], 123);
    }
  }
}

TEST(Luma, OfTheExtremesIsExact) {
  for (const int value : {0, 255}) {
    const Case c{8, 8, 5, 3};
    Pixels pixels(c);
    std::fill(pixels.bytes.begin(), pixels.bytes.end(), static_cast<unsigned char>(value));
    Image<std::uint8_t> out(5, 3);
    ThreadPool pool(1);
    luma(pixels.frame, spec_of(c), out.view(), pool);
    EXPECT_EQ(out.row(1)[2], value);
  }
}

TEST(Preprocess, RefusesFramesThatCannotBeRead) {
  const Case c{8, 8, 4, 4};
  const Pixels pixels(c);
  const InputSpec spec = spec_of(c);
  std::vector<float> out(3 * 16);
  ThreadPool pool(1);
  Frame frame = pixels.frame;
  frame.data = nullptr;
  EXPECT_THROW(preprocess(frame, spec, out.data(), pool), Error);
  frame = pixels.frame;
  frame.width = 0;
  EXPECT_THROW(preprocess(frame, spec, out.data(), pool), Error);
  frame = pixels.frame;
  frame.stride = 23;  // a row is 24 bytes
  EXPECT_THROW(preprocess(frame, spec, out.data(), pool), Error);
  InputSpec wrong = spec;
  wrong.std[1] = 0.F;
  EXPECT_THROW(preprocess(pixels.frame, wrong, out.data(), pool), Error);
}

TEST(Geometry, TheLetterboxIsTheLargestCentredRectangle) {
  InputSpec spec;
  spec.width = 320;
  spec.height = 240;
  spec.resize = ResizeMode::letterbox;
  const auto expect = [&](Size frame, Rect expected) {
    const Rect found = content_rect(frame, spec);
    EXPECT_EQ(found.x, expected.x);
    EXPECT_EQ(found.y, expected.y);
    EXPECT_EQ(found.width, expected.width);
    EXPECT_EQ(found.height, expected.height);
  };
  expect({640, 480}, {0, 0, 320, 240});
  expect({1280, 720}, {0, 30, 320, 180});
  expect({100, 200}, {100, 0, 120, 240});
  expect({1, 10000}, {159, 0, 1, 240});
}

}  // namespace
}  // namespace stpl_rt
