#include <gtest/gtest.h>
#include <stpl_rt/error.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/frame_copy.h"
#include "ops/frame_rows.h"
#include "ops/preprocess.h"
#include "reference.h"

namespace stpl_rt {
namespace {

struct Standard {
  double red, blue;
  bool full;
};

Standard standard(YuvEncoding encoding) {
  switch (encoding) {
    case YuvEncoding::bt709:
      return {0.2126, 0.0722, false};
    case YuvEncoding::bt601_full:
      return {0.299, 0.114, true};
    case YuvEncoding::bt709_full:
      return {0.2126, 0.0722, true};
    case YuvEncoding::bt601:
      break;
  }
  return {0.299, 0.114, false};
}

// The colour by the standard's definition: Y = wr R + wg G + wb B, Cb = (B - Y) / (2 - 2 wb), Cr likewise.
std::vector<double> colour(YuvEncoding encoding, double y, double cb, double cr) {
  const Standard s = standard(encoding);
  const double luma = s.full ? y / 255 : (y - 16) / 219;
  const double u = (cb - 128) / (s.full ? 255 : 224);
  const double v = (cr - 128) / (s.full ? 255 : 224);
  const double r = luma + 2 * (1 - s.red) * v;
  const double b = luma + 2 * (1 - s.blue) * u;
  const double g = (luma - s.red * r - s.blue * b) / (1 - s.red - s.blue);
  std::vector<double> out;
  for (const double channel : {r, g, b}) out.push_back(std::clamp(255 * channel, 0.0, 255.0));
  return out;
}

struct Pixels {
  int width, height, stride, chroma_stride;
  std::vector<unsigned char> luma, cb_cr, cb, cr;

  Pixels(int w, int h, int extra) : width(w), height(h), stride(w + extra) {
    const int columns = (w + 1) / 2, rows = (h + 1) / 2;
    chroma_stride = 2 * columns + extra;
    luma = reference::bytes(static_cast<std::size_t>(stride) * h, 1);
    cb_cr = reference::bytes(static_cast<std::size_t>(chroma_stride) * rows, 2);
    cb.resize(static_cast<std::size_t>(columns) * rows);
    cr.resize(cb.size());
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < columns; ++x) {
        cb[static_cast<std::size_t>(y * columns + x)] =
            cb_cr[static_cast<std::size_t>(y * chroma_stride + 2 * x)];
        cr[static_cast<std::size_t>(y * columns + x)] =
            cb_cr[static_cast<std::size_t>(y * chroma_stride + 2 * x + 1)];
      }
    }
  }
  [[nodiscard]] Frame nv12(YuvEncoding encoding) const {
    return {.data = luma.data(),
            .width = width,
            .height = height,
            .stride = stride,
            .format = PixelFormat::nv12,
            .chroma = cb_cr.data(),
            .chroma_cr = nullptr,
            .chroma_stride = chroma_stride,
            .encoding = encoding};
  }
  [[nodiscard]] Frame i420(YuvEncoding encoding) const {
    return {.data = luma.data(),
            .width = width,
            .height = height,
            .stride = stride,
            .format = PixelFormat::i420,
            .chroma = cb.data(),
            .chroma_cr = cr.data(),
            .chroma_stride = (width + 1) / 2,
            .encoding = encoding};
  }
  [[nodiscard]] std::vector<double> at(YuvEncoding encoding, int x, int y) const {
    const std::size_t chroma = static_cast<std::size_t>((y / 2) * chroma_stride + 2 * (x / 2));
    return colour(encoding, luma[static_cast<std::size_t>(y * stride + x)], cb_cr[chroma], cb_cr[chroma + 1]);
  }
};

class Yuv : public testing::TestWithParam<YuvEncoding> {};

TEST_P(Yuv, BecomesTheColourOfTheStandard) {
  for (const auto& [width, height] : {std::pair{1, 1}, {2, 2}, {7, 5}, {66, 9}}) {
    const Pixels pixels(width, height, 3);
    for (const Frame& frame : {pixels.nv12(GetParam()), pixels.i420(GetParam())}) {
      const FrameRows rows(frame);
      std::vector<unsigned char> scratch(rows.scratch_bytes());
      for (int y = 0; y < height; ++y) {
        const std::uint8_t* row = rows.row(y, scratch.data());
        for (int x = 0; x < width; ++x) {
          const std::vector<double> expected = pixels.at(GetParam(), x, y);
          for (int k = 0; k < 3; ++k) ASSERT_NEAR(row[3 * x + k], expected[k], 0.51) << x << ", " << y;
        }
      }
    }
  }
}

TEST_P(Yuv, IsPreparedAsItsColoursAre) {
  const Pixels pixels(37, 23, 5);
  std::vector<unsigned char> rgb;
  for (int y = 0; y < 23; ++y) {
    for (int x = 0; x < 37; ++x) {
      for (const double channel : pixels.at(GetParam(), x, y)) {
        rgb.push_back(static_cast<unsigned char>(std::lround(channel)));
      }
    }
  }
  const Frame converted{.data = rgb.data(), .width = 37, .height = 23};
  ThreadPool pool(2);
  for (const bool same_size : {false, true}) {
    for (const bool calibrated : {false, true}) {
      InputSpec spec;
      spec.width = same_size ? 37 : 20;
      spec.height = same_size ? 23 : 12;
      if (calibrated) {
        spec.lut.emplace();
        for (auto& table : *spec.lut) {
          for (int v = 0; v < 256; ++v)
            table[static_cast<std::size_t>(v)] = static_cast<std::uint8_t>(255 - v);
        }
      }
      const auto size = static_cast<std::size_t>(3 * spec.width * spec.height);
      std::vector<float> expected(size), nv12(size), i420(size);
      preprocess(converted, spec, expected.data(), pool);
      preprocess(pixels.nv12(GetParam()), spec, nv12.data(), pool);
      preprocess(pixels.i420(GetParam()), spec, i420.data(), pool);
      EXPECT_EQ(nv12, i420);
      // Rounding to bytes may fall either way at exactly one half.
      for (std::size_t i = 0; i < size; ++i) ASSERT_NEAR(nv12[i], expected[i], 1.001);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Encodings, Yuv,
                         testing::Values(YuvEncoding::bt601, YuvEncoding::bt709, YuvEncoding::bt601_full,
                                         YuvEncoding::bt709_full));

TEST(YuvFrame, LumaIsStretchedToTheWholeRange) {
  const std::vector<unsigned char> gray = {16, 126, 235, 255};
  std::vector<unsigned char> planes = gray;
  planes.insert(planes.end(), {128, 128, 128, 128});
  Frame frame{.data = planes.data(), .width = 4, .height = 1, .format = PixelFormat::nv12};
  InputSpec spec;
  spec.width = 4;
  spec.height = 1;
  std::vector<std::uint8_t> out(4);
  ThreadPool pool(1);
  luma(frame, spec, {out.data(), 4, 1, 4}, pool);
  EXPECT_EQ(out, (std::vector<std::uint8_t>{0, 128, 255, 255}));
  frame.encoding = YuvEncoding::bt601_full;
  luma(frame, spec, {out.data(), 4, 1, 4}, pool);
  EXPECT_EQ(out, gray);
}

void expect_same_rows(const FrameRows& found, const FrameRows& expected, int width, int height) {
  const std::size_t bytes = std::size_t{3} * static_cast<std::size_t>(width);
  std::vector<unsigned char> a(bytes), b(bytes);
  for (int y = 0; y < height; ++y) {
    (void)found.row(y, a.data());
    (void)expected.row(y, b.data());
    EXPECT_EQ(a, b) << "row " << y;
  }
}

TEST(YuvFrame, PlanesFollowEachOtherWhereNothingElseIsSaid) {
  const Pixels pixels(6, 4, 0);
  std::vector<unsigned char> packed = pixels.luma;
  packed.insert(packed.end(), pixels.cb.begin(), pixels.cb.end());
  packed.insert(packed.end(), pixels.cr.begin(), pixels.cr.end());
  const FrameRows found({.data = packed.data(), .width = 6, .height = 4, .format = PixelFormat::i420});
  const FrameRows expected(pixels.i420(YuvEncoding::bt601));
  expect_same_rows(found, expected, 6, 4);
}

TEST(YuvFrame, ACopyShowsTheSame) {
  const Pixels pixels(7, 5, 4);
  for (const Frame& frame : {pixels.nv12(YuvEncoding::bt709), pixels.i420(YuvEncoding::bt709)}) {
    AlignedBuffer<std::uint8_t> memory;
    const FrameRows copy(copy_frame(frame, memory));
    const FrameRows original(frame);
    expect_same_rows(copy, original, 7, 5);
  }
}

TEST(YuvFrame, RefusesPlanesThatCannotBeFound) {
  const Pixels pixels(7, 4, 0);
  Frame odd = pixels.nv12(YuvEncoding::bt601);
  odd.chroma_stride = 0;
  EXPECT_THROW(check_frame(odd), Error);  // 7 bytes of luma, 8 of chroma
  Frame upwards = pixels.nv12(YuvEncoding::bt601);
  upwards.stride = -7;
  upwards.chroma = nullptr;
  EXPECT_THROW(check_frame(upwards), Error);
  Frame narrow = pixels.i420(YuvEncoding::bt601);
  narrow.chroma_stride = 3;
  EXPECT_THROW(check_frame(narrow), Error);
  Frame chroma_upwards = pixels.i420(YuvEncoding::bt601);
  chroma_upwards.chroma = nullptr;
  chroma_upwards.chroma_stride = -4;
  EXPECT_THROW(check_frame(chroma_upwards), Error);
  Frame cr_upwards = pixels.i420(YuvEncoding::bt601);
  cr_upwards.stride = -7;
  cr_upwards.chroma_stride = 0;  // that of luma, upwards too
  check_frame(cr_upwards);
  cr_upwards.chroma_cr = nullptr;
  EXPECT_THROW(check_frame(cr_upwards), Error);
  Frame strange = pixels.i420(static_cast<YuvEncoding>(9));
  EXPECT_THROW(check_frame(strange), Error);
}

TEST(YuvFrame, NumbersAtTheirLimitsAreJudgedLikeOthers) {
  constexpr int kMost = std::numeric_limits<int>::max();
  constexpr std::ptrdiff_t kLowest = std::numeric_limits<std::ptrdiff_t>::min();
  const std::uint8_t pixel = 0;
  for (const PixelFormat format : {PixelFormat::nv12, PixelFormat::i420}) {
    Frame frame{.data = &pixel, .width = kMost, .height = kMost, .format = format, .chroma = &pixel};
    frame.chroma_cr = &pixel;
    frame.chroma_stride = std::ptrdiff_t{kMost} + 1;
    check_frame(frame);
    frame.stride = kLowest;
    frame.chroma_stride = kLowest;
    check_frame(frame);
    frame.chroma_stride = kMost / 2;
    EXPECT_THROW(check_frame(frame), Error);
  }
}

}  // namespace
}  // namespace stpl_rt
