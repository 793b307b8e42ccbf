#include "cli/y4m.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "cli/arguments.h"
#include "ops/frame_rows.h"

namespace stpl_rt::cli {
namespace {

std::string message_of(const std::string& bytes) {
  std::istringstream stream(bytes);
  try {
    Y4mReader reader(stream, "clip.y4m");
    while (reader.next()) {
    }
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

void expect_message(const std::string& bytes, const std::vector<std::string>& parts) {
  const std::string message = message_of(bytes);
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "no \"" << part << "\" in \"" << message << "\"";
  }
}

// ITU-R BT.601 from its definition.
std::array<double, 3> to_rgb(int y, int u, int v, bool full) {
  const double luma = full ? y / 255.0 : (y - 16) / 219.0;
  const double pb = (u - 128) / (full ? 255.0 : 224.0), pr = (v - 128) / (full ? 255.0 : 224.0);
  const double r = luma + 2 * (1 - 0.299) * pr, b = luma + 2 * (1 - 0.114) * pb;
  const double g = (luma - 0.299 * r - 0.114 * b) / 0.587;
  return {255 * r, 255 * g, 255 * b};
}

struct Layout {
  const char* tag;
  int x_shift, y_shift;
  bool full;
  PixelFormat format;
};

void PrintTo(const Layout& layout, std::ostream* stream) { *stream << '"' << layout.tag << '"'; }

class Y4mColors : public testing::TestWithParam<Layout> {};

TEST_P(Y4mColors, AreBt601) {
  const Layout& layout = GetParam();
  constexpr int kWidth = 7, kHeight = 5;  // odd: chroma planes are rounded up
  const int cw = (kWidth + layout.x_shift) >> layout.x_shift,
            ch = (kHeight + layout.y_shift) >> layout.y_shift;
  std::string luma, u, v;
  for (int i = 0; i < kWidth * kHeight; ++i) luma += static_cast<char>((37 * i + 11) % 256);
  for (int i = 0; i < cw * ch; ++i) u += static_cast<char>((91 * i + 40) % 256);
  for (int i = 0; i < cw * ch; ++i) v += static_cast<char>((53 * i + 200) % 256);
  std::istringstream stream(std::string("YUV4MPEG2 W7 H5 F25:1 Ip A1:1 ") + layout.tag + "\nFRAME\n" + luma +
                            u + v + "FRAME Ip\n" + luma + u + v);
  Y4mReader reader(stream, "clip");
  EXPECT_EQ(reader.header().frame_rate, "25:1");
  ASSERT_TRUE(reader.next());
  const Frame frame = reader.frame();
  ASSERT_EQ(frame.width, kWidth);
  ASSERT_EQ(frame.height, kHeight);
  EXPECT_EQ(frame.format, layout.format);
  const FrameRows rows(frame);
  std::vector<std::uint8_t> scratch(rows.scratch_bytes());
  for (int y = 0; y < kHeight; ++y) {
    const std::uint8_t* const row = rows.row(y, scratch.data());
    for (int x = 0; x < kWidth; ++x) {
      const auto c = static_cast<std::size_t>((y >> layout.y_shift) * cw + (x >> layout.x_shift));
      const auto at = [](const std::string& plane, std::size_t i) {
        return static_cast<unsigned char>(plane[i]);
      };
      const auto expected =
          to_rgb(at(luma, static_cast<std::size_t>(y * kWidth + x)), at(u, c), at(v, c), layout.full);
      for (int k = 0; k < 3; ++k) {
        const double clamped = std::clamp(expected[static_cast<std::size_t>(k)], 0.0, 255.0);
        EXPECT_NEAR(row[3 * x + k], clamped, 0.51);
      }
    }
  }
  EXPECT_TRUE(reader.next());
  EXPECT_FALSE(reader.next());
}

INSTANTIATE_TEST_SUITE_P(Layouts, Y4mColors,
                         testing::Values(Layout{"", 1, 1, false, PixelFormat::i420},
                                         Layout{"C420jpeg", 1, 1, false, PixelFormat::i420},
                                         Layout{"C420mpeg2 XYSCSS=420MPEG2", 1, 1, false, PixelFormat::i420},
                                         Layout{"C420paldv XCOLORRANGE=LIMITED", 1, 1, false,
                                                PixelFormat::i420},
                                         Layout{"C420jpeg XCOLORRANGE=FULL", 1, 1, true, PixelFormat::i420},
                                         Layout{"C422", 1, 0, false, PixelFormat::rgb},
                                         Layout{"C422 XCOLORRANGE=FULL", 1, 0, true, PixelFormat::rgb},
                                         Layout{"C444", 0, 0, false, PixelFormat::rgb},
                                         Layout{"C444 XCOLORRANGE=FULL", 0, 0, true, PixelFormat::rgb}));

// The library reads them where they were read to: nothing is written but what the file holds.
TEST(Y4m, PlanesThatTheLibraryTakesAreHandedOverAsTheyLie) {
  const std::string planes = "0123456789ABCDEFGHIJKLMNOPQ";  // 5x3 of luma, 3x2 of Cb and of Cr
  for (const auto& [tag, bytes] : {std::pair{"C420", 27U}, {"Cmono", 15U}}) {
    const std::string pixels = planes.substr(0, bytes);
    std::istringstream stream(std::string("YUV4MPEG2 W5 H3 ") + tag + "\nFRAME\n" + pixels);
    Y4mReader reader(stream, "clip");
    ASSERT_TRUE(reader.next());
    const Frame frame = reader.frame();
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(frame.data), pixels.size()), pixels);
    const FrameRows rows(frame);
    if (frame.format != PixelFormat::i420) continue;
    EXPECT_EQ(rows.chroma, frame.data + 15);
    EXPECT_EQ(rows.chroma_cr, frame.data + 21);
    EXPECT_EQ(rows.chroma_stride, 3);
  }
}

TEST(Y4m, MonoIsGray) {
  for (const bool full : {true, false}) {
    std::istringstream stream(std::string("YUV4MPEG2 W3 H1 F1:1 Cmono XCOLORRANGE=") +
                              (full ? "FULL" : "LIMITED") + "\nFRAME\n" + std::string("\x10\x7e\xeb", 3));
    Y4mReader reader(stream, "clip");
    ASSERT_TRUE(reader.next());
    const Frame frame = reader.frame();
    EXPECT_EQ(frame.format, PixelFormat::gray);
    EXPECT_EQ(frame.data[0], full ? 16 : 0);
    EXPECT_EQ(frame.data[1], full ? 126 : 128);
    EXPECT_EQ(frame.data[2], full ? 235 : 255);
  }
}

TEST(Y4m, SaysWhatIsWrong) {
  expect_message("", {"clip.y4m", "a Y4M header", "the end of the video"});
  expect_message("RIFF....\n", {"YUV4MPEG2", "other data"});
  expect_message(std::string(10000, 'x'), {"a Y4M header", "other data"});
  expect_message("YUV4MPEG2 H4 F1:1\n", {"width and height"});
  expect_message("YUV4MPEG2 W0 H4\n", {"1 to 16384", "\"W0\""});
  expect_message("YUV4MPEG2 W4x H4\n", {"\"W4x\""});
  expect_message("YUV4MPEG2 W4 H99999\n", {"\"H99999\""});
  expect_message("YUV4MPEG2 W4 H4 C420p10\n", {"8-bit", "\"C420p10\""});
  expect_message("YUV4MPEG2 W4 H4 XCOLORRANGE=ODD\n", {"FULL or LIMITED", "\"ODD\""});
  expect_message("YUV4MPEG2 W2 H2 Cmono\nGRAPE\nabcd", {"\"FRAME\" before frame 0"});
  expect_message("YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcdFRAME\nab",
                 {"4 bytes of frame 1", "found 2", "cut short"});
  expect_message("YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcdFRA", {"the header of frame 1", "the end of the video"});
}

TEST(Y4m, TakesNoMemoryForPixelsThatAreNotThere) {
  const auto peak_kilobytes = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto before = peak_kilobytes();
  expect_message("YUV4MPEG2 W16384 H16384 C444\nFRAME\nabcd", {"805306368 bytes", "found 4", "cut short"});
  EXPECT_LT(peak_kilobytes() - before, 100'000);
}

TEST(Y4m, ReadsFramesLargerThanOneRead) {
  constexpr std::size_t kPixels = 2000 * 1100;
  std::string luma(kPixels, '\0');
  for (std::size_t i = 0; i < kPixels; ++i) luma[i] = static_cast<char>(i % 251);
  std::istringstream stream("YUV4MPEG2 W2000 H1100 Cmono\nFRAME\n" + luma + "FRAME\n" + luma);
  Y4mReader reader(stream, "clip");
  for (int frame = 0; frame < 2; ++frame) {
    ASSERT_TRUE(reader.next());
    const auto* const expected = reinterpret_cast<const unsigned char*>(luma.data());
    EXPECT_TRUE(std::equal(expected, expected + kPixels, reader.frame().data));
  }
  EXPECT_FALSE(reader.next());
}

}  // namespace
}  // namespace stpl_rt::cli
