#include "ops/sample_argmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "reference.h"

namespace stpl_rt {
namespace {

struct Case {
  int classes, width, height;  // logits
  int out_width, out_height;
  bool align_corners = false;
  ResizeMode resize = ResizeMode::stretch;
  int in_width = 0, in_height = 0;  // 0: the output's size
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.classes << "x" << c.height << "x" << c.width << " to " << c.out_height << "x" << c.out_width
             << (c.align_corners ? " corners" : "")
             << (c.resize == ResizeMode::letterbox ? " letterbox" : "");
}

InputSpec input_of(const Case& c) {
  InputSpec spec;
  spec.width = c.in_width > 0 ? c.in_width : c.out_width;
  spec.height = c.in_height > 0 ? c.in_height : c.out_height;
  spec.resize = c.resize;
  return spec;
}

// Where an output pixel lies in the input, and an input pixel in the logits, from the rules' definition.
double to_input(double x, int n_out, double begin, double n_content, bool corners) {
  if (corners) return begin + (n_out > 1 ? x * (n_content - 1) / (n_out - 1) : 0);
  return begin + (x + 0.5) * n_content / n_out - 0.5;
}
double to_logits(double x, int n_in, int n_logits, bool corners) {
  if (corners) return n_in > 1 ? x * (n_logits - 1) / (n_in - 1) : 0;
  return (x + 0.5) * n_logits / n_in - 0.5;
}

struct Expected {
  std::vector<double> values;  // of every class at one pixel
  [[nodiscard]] int best() const {
    int best = 0;
    for (int c = 1; c < static_cast<int>(values.size()); ++c) best = values[c] > values[best] ? c : best;
    return best;
  }
  [[nodiscard]] double lead(int label) const {
    return values[static_cast<std::size_t>(best())] - values[static_cast<std::size_t>(label)];
  }
  [[nodiscard]] double probability() const {
    double sum = 0;
    for (const double value : values) sum += std::exp(value - values[static_cast<std::size_t>(best())]);
    return 1 / sum;
  }
};

Expected expect_at(const Case& c, const std::vector<float>& logits, const FlowField* flow, int x, int y) {
  const InputSpec spec = input_of(c);
  const Rect content = content_rect({c.out_width, c.out_height}, spec);
  double x_in = to_input(x, c.out_width, content.x, content.width, c.align_corners);
  double y_in = to_input(y, c.out_height, content.y, content.height, c.align_corners);
  if (flow != nullptr) {
    const int fw = flow->width(), fh = flow->height();
    const double fx = (x_in + 0.5) * fw / spec.width - 0.5, fy = (y_in + 0.5) * fh / spec.height - 0.5;
    x_in += reference::bilinear(flow->dx.row(0), fw, fh, flow->dx.stride(), fx, fy) * spec.width / fw;
    y_in += reference::bilinear(flow->dy.row(0), fw, fh, flow->dy.stride(), fx, fy) * spec.height / fh;
  }
  x_in = std::clamp(x_in, content.x - 0.5, content.x + content.width - 0.5);
  y_in = std::clamp(y_in, content.y - 0.5, content.y + content.height - 0.5);
  const double lx = to_logits(x_in, spec.width, c.width, c.align_corners);
  const double ly = to_logits(y_in, spec.height, c.height, c.align_corners);
  Expected expected;
  for (int k = 0; k < c.classes; ++k) {
    const float* plane = logits.data() + static_cast<std::ptrdiff_t>(k) * c.width * c.height;
    expected.values.push_back(reference::bilinear(plane, c.width, c.height, c.width, lx, ly));
  }
  return expected;
}

struct Output {
  Output(int width, int height) : labels(width + 5, height), confidence(width + 3, height) {
    labels.fill(254);
    confidence.fill(0);
    width_ = width;
  }
  // Views narrower than the images: what lies past them must stay as it was.
  [[nodiscard]] ImageView<std::uint8_t> label_view() {
    return {labels.row(0), width_, labels.height(), labels.stride()};
  }
  [[nodiscard]] ImageView<std::uint8_t> confidence_view() {
    return {confidence.row(0), width_, confidence.height(), confidence.stride()};
  }
  Image<std::uint8_t> labels;
  Image<std::uint8_t> confidence;
  int width_;
};

void check(const Case& c, const std::vector<float>& logits, const FlowField* flow, float validity,
           Output& out) {
  int differing = 0;
  for (int y = 0; y < c.out_height; ++y) {
    for (int x = 0; x < c.out_width; ++x) {
      const Expected expected = expect_at(c, logits, flow, x, y);
      const int label = out.labels.row(y)[x];
      ASSERT_LT(label, c.classes) << c << " at " << x << ", " << y;
      differing += label != expected.best();
      ASSERT_LT(expected.lead(label), 2e-4) << c << " at " << x << ", " << y;  // only ties within rounding
      ASSERT_NEAR(out.confidence.row(y)[x], 255 * validity * expected.probability(), 0.6) << c;
    }
    ASSERT_EQ(out.labels.row(y)[c.out_width], 254) << "written past the end of row " << y;
  }
  EXPECT_LE(differing, c.out_width * c.out_height / 1000) << c;
}

class SampleArgmaxTest : public testing::TestWithParam<Case> {};

TEST_P(SampleArgmaxTest, MatchesInterpolationAndArgmax) {
  const Case& c = GetParam();
  const std::vector<float> logits =
      reference::noise(static_cast<std::size_t>(c.classes) * c.width * c.height, 1, 3.F);
  const Geometry geometry =
      make_geometry({c.out_width, c.out_height}, input_of(c), {c.width, c.height, c.align_corners});
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    Output out(c.out_width, c.out_height);
    sample_argmax({logits.data(), c.classes, c.width, c.height}, geometry, out.label_view(),
                  out.confidence_view(), pool);
    check(c, logits, nullptr, 1.F, out);
  }
}

TEST_P(SampleArgmaxTest, MatchesDisplacedInterpolationAndArgmax) {
  const Case& c = GetParam();
  const std::vector<float> logits =
      reference::noise(static_cast<std::size_t>(c.classes) * c.width * c.height, 2, 3.F);
  const Geometry geometry =
      make_geometry({c.out_width, c.out_height}, input_of(c), {c.width, c.height, c.align_corners});
  const FlowField flow = reference::random_flow((c.out_width + 1) / 2, (c.out_height + 2) / 3, 3, 4.F);
  Image<float> validity(flow.width(), flow.height());
  validity.fill(0.5F);
  ThreadPool pool(2);
  PackedLogits packed;
  packed.assign({logits.data(), c.classes, c.width, c.height}, pool);
  Output out(c.out_width, c.out_height);
  sample_argmax(packed, geometry, flow, validity.cview(), out.label_view(), out.confidence_view(), pool);
  check(c, logits, &flow, 0.5F, out);
}

TEST_P(SampleArgmaxTest, ZeroFlowChangesNothing) {
  const Case& c = GetParam();
  const std::vector<float> logits =
      reference::noise(static_cast<std::size_t>(c.classes) * c.width * c.height, 4, 3.F);
  const Geometry geometry =
      make_geometry({c.out_width, c.out_height}, input_of(c), {c.width, c.height, c.align_corners});
  FlowField flow;
  flow.resize(7, 5);
  flow.fill(0.F);
  ThreadPool pool(1);
  PackedLogits packed;
  packed.assign({logits.data(), c.classes, c.width, c.height}, pool);
  Output out(c.out_width, c.out_height);
  sample_argmax(packed, geometry, flow, {}, out.label_view(), out.confidence_view(), pool);
  check(c, logits, nullptr, 1.F, out);
}

// Whether confidence is asked for decides whether every pixel's classes are compared.
TEST_P(SampleArgmaxTest, DecidedCellsAreWhatAComparisonOfAllClassesFinds) {
  const Case& c = GetParam();
  std::vector<float> logits =
      reference::noise(static_cast<std::size_t>(c.classes) * c.width * c.height, 8, 1.F);
  for (int y = 0; y < c.height; ++y) {  // regions of five pixels, like a street's
    for (int x = 0; x < c.width; ++x) {
      const int region = (x / 5 + 3 * (y / 5)) % c.classes;
      logits[(static_cast<std::size_t>(region) * c.height + y) * c.width + x] += 1.5F;
    }
  }
  const Geometry geometry =
      make_geometry({c.out_width, c.out_height}, input_of(c), {c.width, c.height, c.align_corners});
  const FlowField flow = reference::random_flow((c.out_width + 1) / 2, (c.out_height + 2) / 3, 3, 4.F);
  ThreadPool pool(2);
  PackedLogits packed;
  packed.assign({logits.data(), c.classes, c.width, c.height}, pool);
  Output compared(c.out_width, c.out_height), out(c.out_width, c.out_height);
  sample_argmax(packed, geometry, flow, {}, compared.label_view(), compared.confidence_view(), pool);
  sample_argmax(packed, geometry, flow, {}, out.label_view(), {}, pool);
  for (int y = 0; y < c.out_height; ++y) {
    for (int x = 0; x < c.out_width; ++x) {
      ASSERT_EQ(out.label_view().row(y)[x], compared.label_view().row(y)[x]) << "at " << x << ", " << y;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SampleArgmaxTest,
                         testing::Values(Case{11, 80, 60, 320, 240}, Case{11, 40, 30, 131, 97},
                                         Case{1, 5, 4, 33, 17}, Case{19, 65, 33, 257, 129, true},
                                         Case{19, 64, 32, 250, 130, true}, Case{40, 9, 7, 70, 50},
                                         Case{255, 8, 6, 40, 24}, Case{150, 33, 9, 200, 61},
                                         Case{5, 1, 1, 20, 10}, Case{5, 1, 6, 20, 10, true},
                                         Case{5, 6, 1, 20, 10}, Case{3, 30, 20, 1, 1},
                                         Case{3, 30, 20, 1, 1, true}, Case{6, 50, 40, 25, 13},  // shrinks
                                         Case{7, 40, 24, 300, 100, false, ResizeMode::letterbox, 160, 96},
                                         Case{7, 41, 25, 90, 200, true, ResizeMode::letterbox, 160, 96},
                                         Case{4, 20, 15, 200, 150, false, ResizeMode::stretch, 80, 61}));

TEST(SampleArgmax, TheLowestOfEqualClassesWins) {
  ThreadPool pool(1);
  const Case c{20, 8, 8, 33, 33};
  std::vector<float> logits(20 * 64, 0.F);
  std::fill(logits.begin() + 7 * 64, logits.begin() + 8 * 64, 1.F);
  std::fill(logits.begin() + 17 * 64, logits.begin() + 18 * 64, 1.F);
  const Geometry geometry = make_geometry({33, 33}, input_of(c), {8, 8, false});
  PackedLogits packed;
  packed.assign({logits.data(), 20, 8, 8}, pool);
  const FlowField flow = reference::random_flow(11, 11, 5, 3.F);
  Image<std::uint8_t> plain(33, 33), displaced(33, 33);
  sample_argmax({logits.data(), 20, 8, 8}, geometry, plain.view(), {}, pool);
  sample_argmax(packed, geometry, flow, {}, displaced.view(), {}, pool);
  for (int y = 0; y < 33; ++y) {
    for (int x = 0; x < 33; ++x) {
      ASSERT_EQ(plain.row(y)[x], 7);
      ASSERT_EQ(displaced.row(y)[x], 7);
    }
  }
}

TEST(SampleArgmax, FlowAndLogitsThatAreNotFiniteGiveValidLabels) {
  ThreadPool pool(2);
  const Case c{11, 20, 15, 80, 60};
  std::vector<float> logits = reference::noise(11 * 20 * 15, 6);
  for (int k = 0; k < 11; ++k)
    logits[static_cast<std::size_t>(k) * 300 + 40] = std::numeric_limits<float>::quiet_NaN();
  const Geometry geometry = make_geometry({80, 60}, input_of(c), {20, 15, false});
  PackedLogits packed;
  packed.assign({logits.data(), 11, 20, 15}, pool);
  FlowField flow = reference::random_flow(40, 30, 7, 5.F);
  flow.dx.row(3)[4] = std::numeric_limits<float>::quiet_NaN();
  flow.dy.row(9)[9] = std::numeric_limits<float>::infinity();
  flow.dx.row(20)[20] = -std::numeric_limits<float>::infinity();
  flow.dy.row(22)[20] = 3e38F;
  Image<float> validity(40, 30);
  validity.fill(std::numeric_limits<float>::quiet_NaN());
  Image<std::uint8_t> labels(80, 60), confidence(80, 60);
  sample_argmax(packed, geometry, flow, validity.cview(), labels.view(), confidence.view(), pool);
  for (int y = 0; y < 60; ++y) {
    for (int x = 0; x < 80; ++x) ASSERT_LT(labels.row(y)[x], 11);
  }
  sample_argmax({logits.data(), 11, 20, 15}, geometry, labels.view(), confidence.view(), pool);
  for (int y = 0; y < 60; ++y) {
    for (int x = 0; x < 80; ++x) ASSERT_LT(labels.row(y)[x], 11);
  }
}

TEST(SampleArgmax, RefusesWhatDoesNotFit) {
  ThreadPool pool(1);
  const std::vector<float> logits(4 * 6, 0.F);
  const Case c{1, 4, 6, 8, 12};
  const Geometry geometry = make_geometry({8, 12}, input_of(c), {4, 6, false});
  Image<std::uint8_t> labels(8, 12), wrong(8, 11);
  const LogitsView view{logits.data(), 1, 4, 6};
  EXPECT_THROW(sample_argmax(view, geometry, wrong.view(), {}, pool), Error);
  EXPECT_THROW(sample_argmax(view, geometry, labels.view(), wrong.view(), pool), Error);
  EXPECT_THROW(sample_argmax({logits.data(), 1, 6, 4}, geometry, labels.view(), {}, pool), Error);
  EXPECT_THROW(sample_argmax({logits.data(), 256, 4, 6}, geometry, labels.view(), {}, pool), Error);
  EXPECT_THROW(sample_argmax({nullptr, 1, 4, 6}, geometry, labels.view(), {}, pool), Error);
  PackedLogits packed;
  packed.assign(view, pool);
  EXPECT_THROW(sample_argmax(packed, geometry, FlowField{}, {}, labels.view(), {}, pool), Error);
}

}  // namespace
}  // namespace stpl_rt
