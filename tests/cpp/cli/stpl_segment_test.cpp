// The program itself, run as a user runs it.
#include <sys/wait.h>

#include <sstream>

#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

using nlohmann::json;

struct Outcome {
  int status;
  std::string out;
  std::string err;
};

// In an emulator of ARM, OpenVINO's CPU plugin misses a file of /sys and says so.
std::string without_emulation_notice(const std::string& text) {
  std::istringstream lines(text);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("MIDR_EL1") == std::string::npos) kept += line + "\n";
  }
  return kept;
}

Outcome run(const TemporaryFolder& folder, const std::string& arguments) {
  const fs::path out = folder.path() / "stdout", err = folder.path() / "stderr";
  const std::string command =
      std::string(STPL_SEGMENT) + " " + arguments + " >" + out.string() + " 2>" + err.string();
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text(out),
          without_emulation_notice(read_text(err))};
}

constexpr int kWidth = 96, kHeight = 64, kFrames = 7;

// A gray clip (so that colours survive Y4M exactly) that moves, and its frames.
struct Clip {
  std::string y4m;
  std::vector<Picture> frames;
};

Clip moving_clip() {
  Clip clip;
  clip.y4m = "YUV4MPEG2 W96 H64 F15:1 Ip A1:1 Cmono XCOLORRANGE=FULL\n";
  for (int t = 0; t < kFrames; ++t) {
    Picture picture = textured_picture(kWidth, kHeight, t);
    clip.y4m += "FRAME\n";
    for (std::size_t i = 0; i < picture.rgb.size(); i += 3) {
      picture.rgb[i + 1] = picture.rgb[i + 2] = picture.rgb[i];
      clip.y4m += static_cast<char>(picture.rgb[i]);
    }
    clip.frames.push_back(std::move(picture));
  }
  return clip;
}

// What the library says of the clip.
std::vector<Result> expected_results(const Clip& clip, const char* schedule) {
  Segmenter segmenter(made_bundle("half_pixel"),
                      {.schedule = Schedule::parse(schedule), .threads = 2, .confidence = true});
  std::vector<Result> results;
  for (const Picture& picture : clip.frames) results.push_back(segmenter.push(picture.frame()));
  return results;
}

std::string joined(const std::vector<Result>& results, const std::string& before, ByteMap Result::* map) {
  std::string bytes;
  for (const Result& result : results) {
    bytes += before;
    bytes.append((result.*map).bytes().begin(), (result.*map).bytes().end());
  }
  return bytes;
}

TEST(StplSegment, WritesLabelsConfidenceAndTimings) {
  const TemporaryFolder folder;
  const Clip clip = moving_clip();
  const std::string at = folder.path().string() + "/";
  write_text(at + "clip.y4m", clip.y4m);
  const Outcome done =
      run(folder, made_bundle("half_pixel").string() + " " + at + "clip.y4m --schedule fixed:4 --threads 2" +
                      " --labels " + at + "labels --confidence " + at + "conf --timings " + at + "times");
  ASSERT_EQ(done.status, 0) << done.err;
  const std::vector<Result> expected = expected_results(clip, "fixed:4");
  EXPECT_EQ(read_text(at + "labels"), joined(expected, "", &Result::labels));
  EXPECT_EQ(read_text(at + "conf"), joined(expected, "", &Result::confidence));
  std::istringstream lines(read_text(at + "times"));
  std::string line;
  for (int t = 0; t < kFrames; ++t) {
    ASSERT_TRUE(std::getline(lines, line));
    const json timing = json::parse(line);
    EXPECT_EQ(timing.at("frame"), t);
    EXPECT_EQ(timing.at("age"), t % 4);
    EXPECT_EQ(timing.at("is_key"), t % 4 == 0);
    EXPECT_EQ(timing.at("key_reason"), t == 0 ? "first" : t == 4 ? "schedule" : "none");
    EXPECT_EQ(timing.at("network_ms").get<double>() > 0, t % 4 == 0);
    EXPECT_GT(timing.at("total_ms").get<double>(), 0);
  }
  EXPECT_FALSE(std::getline(lines, line));
  for (const char* part :
       {"half_pixel", "fixed:4", "f32", "threads 2", "7 frames, 2 of them keys", "p50", "p99"}) {
    EXPECT_NE(done.err.find(part), std::string::npos) << part << " in " << done.err;
  }
  EXPECT_EQ(done.out, "");
}

// A colour clip that moves: planes of odd sizes, one after the other.
struct PlanarClip {
  static constexpr int kWidth = 161, kHeight = 97;
  static constexpr int kChromaWidth = (kWidth + 1) / 2, kChromaHeight = (kHeight + 1) / 2;

  PlanarClip() {
    for (int t = 0; t < kFrames; ++t) frames.push_back(planes(t));
  }
  [[nodiscard]] std::string y4m(const std::string& range) const {
    std::string text = "YUV4MPEG2 W161 H97 F25:1 Ip A1:1 C420jpeg XCOLORRANGE=" + range + "\n";
    for (const std::string& frame : frames) text += "FRAME\n" + frame;
    return text;
  }
  [[nodiscard]] static Frame frame(const std::string& planes, YuvEncoding encoding) {
    const auto* const luma = reinterpret_cast<const std::uint8_t*>(planes.data());
    const std::uint8_t* const cb = luma + kWidth * kHeight;
    return {.data = luma,
            .width = kWidth,
            .height = kHeight,
            .stride = kWidth,
            .format = PixelFormat::i420,
            .chroma = cb,
            .chroma_cr = cb + kChromaWidth * kChromaHeight,
            .chroma_stride = kChromaWidth,
            .encoding = encoding};
  }
  std::vector<std::string> frames;

 private:
  // Luma that is not that of the pixels' colours: much of them lies outside what RGB can show.
  static std::string planes(int t) {
    const Picture luma = textured_picture(kWidth, kHeight, 2.5 * t);
    const Picture chroma = textured_picture(kChromaWidth, kChromaHeight, 1.25 * t, 0, 1);
    std::string bytes;
    for (std::size_t i = 0; i < luma.rgb.size(); i += 3) bytes += static_cast<char>(luma.rgb[i]);
    for (const std::size_t colour : {1U, 2U}) {
      for (std::size_t i = colour; i < chroma.rgb.size(); i += 3) bytes += static_cast<char>(chroma.rgb[i]);
    }
    return bytes;
  }
};

// Flow follows the luma of the file, as it does for a camera's frames, not that of converted colours.
TEST(StplSegment, SaysOfAVideoWhatTheLibrarySaysOfItsPlanes) {
  const TemporaryFolder folder;
  const PlanarClip clip;
  const std::string at = folder.path().string() + "/";
  for (const auto& [range, encoding] :
       {std::pair{"LIMITED", YuvEncoding::bt601}, {"FULL", YuvEncoding::bt601_full}}) {
    write_text(at + "clip.y4m", clip.y4m(range));
    const Outcome done =
        run(folder, made_bundle("coarse").string() + " " + at + "clip.y4m --threads 2" +
                        " --schedule fixed:4 --labels " + at + "labels --confidence " + at + "conf");
    ASSERT_EQ(done.status, 0) << done.err;
    Segmenter segmenter(made_bundle("coarse"),
                        {.schedule = Schedule::fixed(4), .threads = 2, .confidence = true});
    std::vector<Result> expected;
    for (const std::string& planes : clip.frames) {
      expected.push_back(segmenter.push(PlanarClip::frame(planes, encoding)));
    }
    EXPECT_EQ(read_text(at + "labels"), joined(expected, "", &Result::labels));
    EXPECT_EQ(read_text(at + "conf"), joined(expected, "", &Result::confidence));
  }
}

TEST(StplSegment, ReadsStandardInputAndWritesImages) {
  const TemporaryFolder folder;
  const Clip clip = moving_clip();
  const std::string at = folder.path().string() + "/";
  write_text(at + "clip.y4m", clip.y4m);
  const std::vector<Result> expected = expected_results(clip, "every");
  const std::string common =
      made_bundle("half_pixel").string() + " - --schedule every --threads 1 --labels - ";
  const Outcome pgm = run(folder, common + "--format pgm <" + at + "clip.y4m");
  ASSERT_EQ(pgm.status, 0) << pgm.err;
  EXPECT_EQ(pgm.out, joined(expected, "P5\n96 64\n255\n", &Result::labels));
  const Outcome y4m = run(folder, common + "--format y4m <" + at + "clip.y4m");
  ASSERT_EQ(y4m.status, 0) << y4m.err;
  EXPECT_EQ(y4m.out, "YUV4MPEG2 W96 H64 F15:1 Ip Cmono XCOLORRANGE=FULL\n" +
                         joined(expected, "FRAME\n", &Result::labels));
}

TEST(StplSegment, ATruncatedVideoLeavesNoOutput) {
  const TemporaryFolder folder;
  const std::string at = folder.path().string() + "/";
  const Clip clip = moving_clip();
  write_text(at + "clip.y4m", clip.y4m.substr(0, clip.y4m.size() - 100));
  write_text(at + "labels", "of yesterday");
  const Outcome failed = run(folder, made_bundle("half_pixel").string() + " " + at + "clip.y4m --labels " +
                                         at + "labels --timings " + at + "times");
  EXPECT_EQ(failed.status, 2);
  EXPECT_NE(failed.err.find("expected 6144 bytes of frame 6, found 6044"), std::string::npos) << failed.err;
  EXPECT_EQ(std::count(failed.err.begin(), failed.err.end(), '\n'), 1) << failed.err;
  EXPECT_EQ(read_text(at + "labels"), "of yesterday");
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder.path())) left.push_back(entry.path().filename());
  std::sort(left.begin(), left.end());
  EXPECT_EQ(left, (std::vector<std::string>{"clip.y4m", "labels", "stderr", "stdout"}));
}

TEST(StplSegment, MistakesAreStatusTwoInOneLine) {
  const TemporaryFolder folder;
  const std::string at = folder.path().string() + "/", bundle = made_bundle("half_pixel").string();
  write_text(at + "clip.y4m", moving_clip().y4m);
  write_text(at + "empty.y4m", "YUV4MPEG2 W4 H4\n");
  const std::pair<std::string, const char*> cases[] = {
      {"", "expected BUNDLE and INPUT"},
      {bundle + " " + at + "gone.y4m", "gone.y4m"},
      {bundle + " " + at, "expected a Y4M file"},
      {at + "gone.bundle " + at + "clip.y4m", "gone.bundle"},
      {at + " " + at + "clip.y4m", "manifest.json"},
      {bundle + " " + bundle + "/manifest.json", "YUV4MPEG2"},
      {bundle + " " + at + "empty.y4m", "at least one frame"},
      {bundle + " " + at + "clip.y4m --device cuda", "\"cuda\""},
      {bundle + " " + at + "clip.y4m --labels " + at + "no/such/folder", "cannot be written"},
      {bundle + " " + at + "clip.y4m --labels " + at, "found a folder"},
  };
  for (const auto& [arguments, part] : cases) {
    const Outcome failed = run(folder, arguments);
    EXPECT_EQ(failed.status, 2) << arguments << "\n" << failed.err;
    EXPECT_NE(failed.err.find(part), std::string::npos) << failed.err;
    EXPECT_EQ(std::count(failed.err.begin(), failed.err.end(), '\n'), 1) << failed.err;
  }
}

TEST(StplSegment, AFullDiskIsAFault) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const TemporaryFolder folder;
  const std::string clip = (folder.path() / "clip.y4m").string();
  write_text(clip, moving_clip().y4m);
  const std::string command = std::string(STPL_SEGMENT) + " " + made_bundle("half_pixel").string() + " " +
                              clip + " --labels - >/dev/full 2>" + (folder.path() / "stderr").string();
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_NE(read_text(folder.path() / "stderr").find("writing failed"), std::string::npos);
}

TEST(StplSegment, HelpShowsEveryOption) {
  const TemporaryFolder folder;
  const Outcome help = run(folder, "--help");
  EXPECT_EQ(help.status, 0);
  for (const char* option :
       {"--schedule", "--precision", "--threads", "--labels", "--confidence", "--format", "--timings"}) {
    EXPECT_NE(help.out.find(option), std::string::npos) << option;
  }
}

}  // namespace
}  // namespace stpl_rt::test
