// The bundles of make_test_bundle.py, changed at will, and a scalar reference of what they segment.
#pragma once

#include <gtest/gtest.h>
#include <stpl_rt/stpl_rt.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace stpl_rt {

inline void PrintTo(KeyReason reason, std::ostream* stream) { *stream << to_string(reason); }

}  // namespace stpl_rt

namespace stpl_rt::test {

namespace fs = std::filesystem;

inline fs::path made_bundle(const std::string& name) { return fs::path(STPL_RT_TEST_BUNDLES) / name; }

// A folder that goes when the test ends.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> count{0};
    path_ = fs::temp_directory_path() /
            ("stpl_rt_test_" + std::to_string(getpid()) + "_" + std::to_string(count.fetch_add(1)));
    fs::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_text(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// A copy of a made bundle whose manifest `change` has edited.
inline fs::path changed_bundle(const TemporaryFolder& folder, const std::string& name,
                               const std::function<void(nlohmann::json&)>& change) {
  const fs::path copy = folder.path() / name;
  fs::copy(made_bundle(name), copy, fs::copy_options::overwrite_existing | fs::copy_options::recursive);
  nlohmann::json manifest = nlohmann::json::parse(read_text(copy / "manifest.json"));
  change(manifest);
  write_text(copy / "manifest.json", manifest.dump());
  return copy;
}

// Dense RGB pixels with the frame that shows them.
struct Picture {
  int width;
  int height;
  std::vector<std::uint8_t> rgb;

  Picture(int w, int h) : width(w), height(h), rgb(static_cast<std::size_t>(3 * w * h)) {}
  [[nodiscard]] std::uint8_t* at(int x, int y) { return rgb.data() + 3 * (y * width + x); }
  [[nodiscard]] const std::uint8_t* at(int x, int y) const { return rgb.data() + 3 * (y * width + x); }
  [[nodiscard]] Frame frame() const { return {.data = rgb.data(), .width = width, .height = height}; }
};

// The one colour of which the network of the bundle "fragile" makes NaN.
inline Picture mean_picture(int width, int height) {
  Picture picture(width, height);
  for (std::size_t i = 0; i < picture.rgb.size(); i += 3) {
    picture.rgb[i] = 112;
    picture.rgb[i + 1] = 120;
    picture.rgb[i + 2] = 128;
  }
  return picture;
}

// Smooth blobs of colour with texture of some 20 pixels (which a quarter of the size still shows), seen
// through a window at (left, top): a picture to follow.
inline Picture textured_picture(int width, int height, double left = 0, double top = 0, int scene = 0) {
  Picture picture(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double u = x + left + 1000.0 * scene;
      const double v = y + top + 777.0 * scene;
      const double texture =
          18 * std::sin(0.33 * u + 0.12 * v) + 18 * std::sin(0.29 * v - 0.17 * u + 2 * scene);
      for (int c = 0; c < 3; ++c) {
        const double blob = 70 * std::sin(0.071 * u + 2.1 * c + scene) * std::cos(0.093 * v + 1.3 * c);
        picture.at(x, y)[c] = static_cast<std::uint8_t>(std::clamp(124 + blob + texture, 0.0, 255.0));
      }
    }
  }
  return picture;
}

// A scene that moves by a pixel a frame to the left, and in front of it a thing that moves by nine to the
// right: it hides what was seen, and shows what was not.
inline std::vector<Picture> overtaken(int count) {
  std::vector<Picture> pictures;
  for (int t = 0; t < count; ++t) {
    Picture picture = textured_picture(320, 192, t);
    const Picture thing = textured_picture(70, 60, 0, 0, 3);
    for (int y = 0; y < 60; ++y) std::copy_n(thing.at(0, y), 3 * 70, picture.at(40 + 9 * t, 50 + y));
    pictures.push_back(std::move(picture));
  }
  return pictures;
}

// What the networks of make_test_bundle.py compute, in double, pixel by pixel.
class Reference {
 public:
  static constexpr int kClasses = 4;
  using Scores = std::array<double, kClasses>;

  // Logits of `picture` for an input of width x height.
  Reference(const Picture& picture, int width, int height, bool align_corners)
      : frame_w_(picture.width),
        frame_h_(picture.height),
        in_w_(width),
        in_h_(height),
        corners_(align_corners) {
    const int block = width > 200 ? 8 : 4;
    w_ = corners_ ? (width - 1) / block + 1 : width / block;
    h_ = corners_ ? (height - 1) / block + 1 : height / block;
    logits_.resize(static_cast<std::size_t>(w_ * h_));
    for (int y = 0; y < h_; ++y) {
      for (int x = 0; x < w_; ++x) {
        Scores& sum = logits_[static_cast<std::size_t>(y * w_ + x)];
        sum = {};
        const int side = corners_ ? 1 : block;
        for (int j = 0; j < side; ++j) {
          for (int i = 0; i < side; ++i) {
            const Scores one = scores(picture, block * x + i, block * y + j);
            for (int c = 0; c < kClasses; ++c) sum[c] += one[c] / (side * side);
          }
        }
      }
    }
  }

  // Logits at output pixel (x, y), read at a position displaced by (dx, dy) pixels of the network's input.
  [[nodiscard]] Scores at(int x, int y, double dx = 0, double dy = 0) const {
    const double in_x = map(x, frame_w_, in_w_) + dx;
    const double in_y = map(y, frame_h_, in_h_) + dy;
    const double u = std::clamp(map(in_x, in_w_, w_), 0.0, w_ - 1.0);
    const double v = std::clamp(map(in_y, in_h_, h_), 0.0, h_ - 1.0);
    const int x0 = static_cast<int>(u), y0 = static_cast<int>(v);
    const int x1 = std::min(x0 + 1, w_ - 1), y1 = std::min(y0 + 1, h_ - 1);
    const double a = u - x0, b = v - y0;
    Scores out{};
    for (int c = 0; c < kClasses; ++c) {
      out[c] = (1 - b) * ((1 - a) * logit(x0, y0)[c] + a * logit(x1, y0)[c]) +
               b * ((1 - a) * logit(x0, y1)[c] + a * logit(x1, y1)[c]);
    }
    return out;
  }
  static int label(const Scores& s) {
    return static_cast<int>(std::max_element(s.begin(), s.end()) - s.begin());
  }
  // How far the best class is ahead: where it is less than rounding, either label is right.
  static double margin(Scores s) {
    std::sort(s.begin(), s.end());
    return s[kClasses - 1] - s[kClasses - 2];
  }
  static double softmax_max(const Scores& s) {
    double sum = 0;
    const double top = *std::max_element(s.begin(), s.end());
    for (const double v : s) sum += std::exp(v - top);
    return 1 / sum;
  }
  [[nodiscard]] const Scores& logit(int x, int y) const {
    return logits_[static_cast<std::size_t>(y * w_ + x)];
  }
  [[nodiscard]] int width() const { return w_; }
  [[nodiscard]] int height() const { return h_; }

 private:
  [[nodiscard]] double map(double x, int from, int to) const {
    if (corners_) return from > 1 ? x * (to - 1) / (from - 1) : 0;
    return (x + 0.5) * to / from - 0.5;
  }

  // Scores of input pixel (x, y): the picture resized bilinearly at half-pixel centres, normalised.
  [[nodiscard]] Scores scores(const Picture& picture, int x, int y) const {
    static constexpr double kWeights[kClasses][3] = {
        {1, -.5, -.5}, {-.5, 1, -.5}, {-.5, -.5, 1}, {-.25, -.25, -.25}};
    static constexpr double kBias[kClasses] = {0, 0, 0, 0.125};
    static constexpr double kMean[3] = {112, 120, 128}, kStd[3] = {64, 64, 32};
    const double u = std::clamp((x + 0.5) * frame_w_ / in_w_ - 0.5, 0.0, frame_w_ - 1.0);
    const double v = std::clamp((y + 0.5) * frame_h_ / in_h_ - 0.5, 0.0, frame_h_ - 1.0);
    const int x0 = static_cast<int>(u), y0 = static_cast<int>(v);
    const int x1 = std::min(x0 + 1, frame_w_ - 1), y1 = std::min(y0 + 1, frame_h_ - 1);
    const double a = u - x0, b = v - y0;
    Scores out{};
    for (int c = 0; c < kClasses; ++c) {
      out[c] = kBias[c];
      for (int k = 0; k < 3; ++k) {
        const double value = (1 - b) * ((1 - a) * picture.at(x0, y0)[k] + a * picture.at(x1, y0)[k]) +
                             b * ((1 - a) * picture.at(x0, y1)[k] + a * picture.at(x1, y1)[k]);
        out[c] += kWeights[c][k] * (value - kMean[k]) / kStd[k];
      }
    }
    return out;
  }

  int frame_w_, frame_h_, in_w_, in_h_;
  bool corners_;
  int w_ = 0, h_ = 0;
  std::vector<Scores> logits_;
};

// Every pixel's label is the reference's, read (dx, dy) input pixels away.
inline void expect_labels(const ByteMap& labels, const Reference& reference, double dx = 0, double dy = 0) {
  int wrong = 0;
  for (int y = 0; y < labels.height(); ++y) {
    for (int x = 0; x < labels.width(); ++x) {
      const Reference::Scores s = reference.at(x, y, dx, dy);
      const int found = labels.at(x, y);
      if (found != Reference::label(s) && Reference::margin(s) > 1e-3) ++wrong;
    }
  }
  EXPECT_EQ(wrong, 0) << "of " << labels.size();
}

// Runs `body`, which must throw Error(code) whose message contains all of `parts`.
template <class F>
void expect_error(ErrorCode code, const std::vector<std::string>& parts, F&& body) {
  try {
    body();
    FAIL() << "expected an error of code " << to_string(code);
  } catch (const Error& error) {
    EXPECT_STREQ(to_string(error.code()), to_string(code)) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "no \"" << part << "\" in: " << error.what();
    }
  }
}

}  // namespace stpl_rt::test
