#include "on_device.h"
#include "ops/sample_argmax.h"
#include "ops/sample_argmax_cuda.h"

namespace stpl_rt::cuda {
namespace {

struct Case {
  int classes, width, height;  // logits
  int out_width, out_height;
  bool align_corners = false;
  ResizeMode resize = ResizeMode::stretch;
  int in_width = 0, in_height = 0;  // 0: the output's size
  float scale = 3.F;                // of the logits

  [[nodiscard]] Size output() const { return {out_width, out_height}; }
  [[nodiscard]] Geometry geometry() const {
    InputSpec spec;
    spec.width = in_width > 0 ? in_width : out_width;
    spec.height = in_height > 0 ? in_height : out_height;
    spec.resize = resize;
    return make_geometry(output(), spec, {width, height, align_corners});
  }
  template <class T>
  [[nodiscard]] std::vector<T> logits() const {
    const std::size_t count = static_cast<std::size_t>(classes) * width * height;
    return to_type<T>(reference::noise(count, 1, scale));
  }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.classes << "x" << c.height << "x" << c.width << " to " << c.out_height << "x" << c.out_width
             << (c.align_corners ? " corners" : "")
             << (c.resize == ResizeMode::letterbox ? " letterbox" : "");
}

// Labels and confidence of one kernel, wider than what it is to write.
struct Maps {
  explicit Maps(Size size) : size(size), labels(make(size)), confidence(make(size)) {}
  [[nodiscard]] ImageView<std::uint8_t> label_view() const { return cut(labels); }
  [[nodiscard]] ImageView<std::uint8_t> confidence_view() const { return cut(confidence); }

  static DeviceImage<std::uint8_t> make(Size size) {
    Image<std::uint8_t> fresh(size.width + 3, size.height);
    fresh.fill(254);
    return to_device(fresh.cview());
  }
  [[nodiscard]] ImageView<std::uint8_t> cut(const DeviceImage<std::uint8_t>& image) const {
    return {image.view().data, size.width, size.height, image.view().stride};
  }
  Size size;
  DeviceImage<std::uint8_t> labels, confidence;
};

void expect_same(const Case& c, const Image<std::uint8_t>& labels, const Image<std::uint8_t>& confidence,
                 const Maps& found) {
  const Image<std::uint8_t> found_labels = to_host(found.labels.cview());
  const Image<std::uint8_t> found_confidence = to_host(found.confidence.cview());
  const int pixels = c.out_width * c.out_height;
  EXPECT_LE(count_differing(labels.cview(), found_labels.cview(), 0), pixels / 10000) << c;
  EXPECT_LE(count_differing(confidence.cview(), found_confidence.cview(), 1), pixels / 10000) << c;
  for (int y = 0; y < c.out_height; ++y) {
    ASSERT_EQ(found_labels.row(y)[c.out_width], 254) << c << ": written past the end of row " << y;
    ASSERT_EQ(found_confidence.row(y)[c.out_width], 254) << c << ": written past the end of row " << y;
  }
}

class SampleArgmaxParity : public OnDevice<testing::TestWithParam<Case>> {
 protected:
  template <class T>
  void check_plain() const {
    const Case& c = GetParam();
    const std::vector<T> logits = c.logits<T>();
    const std::vector<float> floats = to_floats(logits);
    ThreadPool pool(1);
    Image<std::uint8_t> labels(c.out_width, c.out_height), confidence(c.out_width, c.out_height);
    const LogitsView view = {floats.data(), c.classes, c.width, c.height};
    stpl_rt::sample_argmax(view, c.geometry(), labels.view(), confidence.view(), pool);

    const DeviceBuffer<T> planes = to_device(logits);
    const PlanarLogits<T> planar = {planes.data(), c.classes, c.width, c.height};
    Maps found(c.output());
    sample_argmax(planar, c.geometry(), found.label_view(), found.confidence_view(), kStream);
    expect_same(c, labels, confidence, found);

    DeviceBuffer<T> memory;
    memory.reserve(packed_size(c.classes, c.width, c.height));
    const PackedLogits<T> packed = pack_logits(planar, memory.data(), kStream);
    Maps undisplaced(c.output());
    sample_argmax(packed, c.geometry(), {}, {}, undisplaced.label_view(), undisplaced.confidence_view(),
                  kStream);
    expect_same(c, labels, confidence, undisplaced);
    Maps unsure(c.output());
    sample_argmax(planar, c.geometry(), unsure.label_view(), {}, kStream);
    EXPECT_LE(count_differing(labels.cview(), to_host(unsure.labels.cview()).cview(), 0),
              c.out_width * c.out_height / 10000);
  }

  template <class T>
  void check_displaced() const {
    const Case& c = GetParam();
    const std::vector<T> logits = c.logits<T>();
    const std::vector<float> floats = to_floats(logits);
    const FlowField flow = reference::random_flow((c.out_width + 1) / 2, (c.out_height + 2) / 3, 3, 4.F);
    Image<float> validity(flow.width(), flow.height());
    for (int y = 0; y < flow.height(); ++y) {
      for (int x = 0; x < flow.width(); ++x)
        validity.row(y)[x] = static_cast<float>((3 * x + 5 * y) % 9) / 8.F;
    }
    ThreadPool pool(1);
    stpl_rt::PackedLogits reference_logits;
    reference_logits.assign({floats.data(), c.classes, c.width, c.height}, pool);
    Image<std::uint8_t> labels(c.out_width, c.out_height), confidence(c.out_width, c.out_height);
    stpl_rt::sample_argmax(reference_logits, c.geometry(), flow, validity.cview(), labels.view(),
                           confidence.view(), pool);

    const DeviceBuffer<T> planes = to_device(logits);
    DeviceBuffer<T> memory;
    memory.reserve(packed_size(c.classes, c.width, c.height));
    const PlanarLogits<T> planar = {planes.data(), c.classes, c.width, c.height};
    const PackedLogits<T> packed = pack_logits(planar, memory.data(), kStream);
    const DeviceFlow device_flow = to_device(flow);
    const DeviceImage<float> device_validity = to_device(validity.cview());
    Maps found(c.output());
    sample_argmax(packed, c.geometry(), device_flow.cplanes(), device_validity.cview(), found.label_view(),
                  found.confidence_view(), kStream);
    expect_same(c, labels, confidence, found);
    Maps unsure(c.output());
    sample_argmax(packed, c.geometry(), device_flow.cplanes(), {}, unsure.label_view(), {}, kStream);
    EXPECT_LE(count_differing(labels.cview(), to_host(unsure.labels.cview()).cview(), 0),
              c.out_width * c.out_height / 10000);
  }

  // Logits of T, carried to ones of U.
  template <class T, class U = T>
  void check_carried() const {
    const Case& c = GetParam();
    const Geometry geometry = make_logits_geometry(c.geometry());
    const std::vector<T> logits = c.logits<T>();
    const std::vector<float> floats = to_floats(logits);
    const FlowField flow = reference::random_flow((c.width + 2) / 2, (c.height + 3) / 2, 4, 2.F);
    ThreadPool pool(1);
    stpl_rt::PackedLogits reference_logits;
    reference_logits.assign({floats.data(), c.classes, c.width, c.height}, pool);
    std::vector<float> expected(floats.size());
    stpl_rt::carry_logits(reference_logits, geometry, flow, expected.data(), pool);

    const DeviceBuffer<T> planes = to_device(logits);
    DeviceBuffer<T> memory;
    DeviceBuffer<U> out;
    memory.reserve(packed_size(c.classes, c.width, c.height));
    out.reserve(logits.size());
    const PackedLogits<T> packed =
        pack_logits(PlanarLogits<T>{planes.data(), c.classes, c.width, c.height}, memory.data(), kStream);
    const DeviceFlow device_flow = to_device(flow);
    carry_logits(packed, geometry, device_flow.cplanes(), out.data(), kStream);
    const std::vector<float> found = to_floats(to_host<U>(out.data(), logits.size()));
    const float rounding = sizeof(U) == 2 ? 2e-3F : 1e-4F;  // of the positions, and of the result
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], rounding * (1 + std::abs(expected[i]))) << c << " at " << i;
    }
  }
};

TEST_P(SampleArgmaxParity, OfFloatLogits) { check_plain<float>(); }
TEST_P(SampleArgmaxParity, OfHalfLogits) { check_plain<Half>(); }
TEST_P(SampleArgmaxParity, OfDisplacedFloatLogits) { check_displaced<float>(); }
TEST_P(SampleArgmaxParity, OfDisplacedHalfLogits) { check_displaced<Half>(); }
TEST_P(SampleArgmaxParity, OfCarriedFloatLogits) { check_carried<float>(); }
TEST_P(SampleArgmaxParity, OfCarriedHalfLogits) { check_carried<Half>(); }
TEST_P(SampleArgmaxParity, OfHalfLogitsCarriedToFloats) { check_carried<Half, float>(); }
TEST_P(SampleArgmaxParity, OfFloatLogitsCarriedToHalves) { check_carried<float, Half>(); }

INSTANTIATE_TEST_SUITE_P(
    Sizes, SampleArgmaxParity,
    testing::Values(Case{19, 128, 64, 512, 256}, Case{11, 80, 60, 320, 240}, Case{11, 40, 30, 131, 97},
                    Case{1, 5, 4, 33, 17}, Case{19, 65, 33, 257, 129, true}, Case{19, 64, 32, 250, 130, true},
                    Case{40, 9, 7, 70, 50}, Case{255, 8, 6, 40, 24}, Case{5, 1, 1, 20, 10},
                    Case{5, 1, 6, 20, 10, true}, Case{5, 6, 1, 20, 10}, Case{3, 30, 20, 1, 1},
                    Case{3, 30, 20, 1, 1, true}, Case{2, 1, 1, 1, 1}, Case{6, 50, 40, 25, 13},  // shrinks
                    Case{7, 40, 24, 300, 100, false, ResizeMode::letterbox, 160, 96},
                    Case{7, 41, 25, 90, 200, true, ResizeMode::letterbox, 160, 96},
                    Case{4, 20, 15, 200, 150, false, ResizeMode::stretch, 80, 61}));

// How much larger than the logits the output is decides which kernel reads them, and how it divides them.
INSTANTIATE_TEST_SUITE_P(
    Ratios, SampleArgmaxParity,
    testing::Values(Case{19, 64, 32, 256, 128}, Case{20, 40, 30, 160, 120}, Case{21, 40, 30, 160, 120},
                    Case{2, 61, 47, 244, 188}, Case{150, 24, 18, 96, 72}, Case{19, 40, 30, 120, 90},
                    Case{19, 41, 31, 120, 90}, Case{20, 50, 40, 100, 80}, Case{7, 51, 40, 100, 80},
                    Case{7, 52, 41, 100, 80}, Case{7, 40, 52, 160, 100},  // about 1/2
                    Case{21, 24, 16, 192, 128}, Case{3, 33, 21, 185, 118}, Case{3, 21, 33, 150, 231},
                    Case{4, 40, 40, 160, 90}, Case{5, 90, 40, 100, 160}, Case{19, 64, 48, 253, 189, true},
                    Case{19, 64, 48, 255, 190, true},  // 4, and more than that
                    Case{19, 33, 17, 97, 49, true}, Case{19, 33, 17, 65, 33, true}, Case{3, 2, 2, 200, 100},
                    Case{3, 2, 2, 200, 100, true}, Case{3, 2, 3, 3, 7},
                    Case{18, 40, 24, 400, 100, false, ResizeMode::letterbox, 160, 96},
                    Case{19, 40, 24, 90, 400, false, ResizeMode::letterbox, 160, 96},
                    Case{17, 40, 24, 640, 384, true, ResizeMode::letterbox, 161, 97},
                    Case{19, 40, 24, 600, 23, false, ResizeMode::letterbox, 320, 192},
                    Case{2, 29, 38, 233, 267, true, ResizeMode::letterbox, 178, 12}));

class SampleArgmaxOnDevice : public OnDevice<testing::Test> {};

TEST_F(SampleArgmaxOnDevice, TheLowestOfEqualClassesWins) {
  std::vector<float> logits(20 * 64, 0.F);
  std::fill(logits.begin() + 7 * 64, logits.begin() + 8 * 64, 1.F);
  std::fill(logits.begin() + 17 * 64, logits.begin() + 18 * 64, 1.F);
  const Geometry geometry = Case{20, 8, 8, 33, 33}.geometry();
  const DeviceBuffer<float> planes = to_device(logits);
  const PlanarLogits<float> planar = {planes.data(), 20, 8, 8};
  DeviceBuffer<float> memory;
  memory.reserve(packed_size(20, 8, 8));
  const DeviceFlow flow = to_device(reference::random_flow(11, 11, 5, 3.F));
  Image<std::uint8_t> sevens(33, 33);
  sevens.fill(7);
  Maps plain({33, 33}), displaced({33, 33});
  sample_argmax(planar, geometry, plain.label_view(), {}, kStream);
  sample_argmax(pack_logits(planar, memory.data(), kStream), geometry, flow.cplanes(), {},
                displaced.label_view(), {}, kStream);
  EXPECT_EQ(count_differing(sevens.cview(), to_host(plain.labels.cview()).cview(), 0), 0);
  EXPECT_EQ(count_differing(sevens.cview(), to_host(displaced.labels.cview()).cview(), 0), 0);
}

// As on the CPU: of logits that are no numbers the label is some class, and flow that is none stays in the
// frame.
TEST_F(SampleArgmaxOnDevice, WhatIsNotANumberStaysInBounds) {
  const float nan = std::nanf("");
  const DeviceBuffer<float> planes = to_device(std::vector<float>(3 * 16, nan));
  const PlanarLogits<float> planar = {planes.data(), 3, 4, 4};
  DeviceBuffer<float> memory;
  memory.reserve(packed_size(3, 4, 4));
  FlowField wild = reference::random_flow(9, 9, 1, 1.F);
  wild.dx.fill(nan);
  wild.dy.fill(std::numeric_limits<float>::infinity());
  const DeviceFlow flow = to_device(wild);
  const Geometry geometry = Case{3, 4, 4, 9, 9}.geometry();
  Maps plain({9, 9}), displaced({9, 9});
  sample_argmax(planar, geometry, plain.label_view(), plain.confidence_view(), kStream);
  sample_argmax(pack_logits(planar, memory.data(), kStream), geometry, flow.cplanes(), {},
                displaced.label_view(), displaced.confidence_view(), kStream);
  Image<std::uint8_t> zeros(9, 9);
  zeros.fill(0);
  EXPECT_EQ(count_differing(zeros.cview(), to_host(plain.labels.cview()).cview(), 0), 0);
  EXPECT_EQ(count_differing(zeros.cview(), to_host(displaced.labels.cview()).cview(), 0), 0);
}

// A class whose logits are -inf never wins, and one that is no number wins nothing, whichever kernel reads.
// 1/4: no output pixel but those at the border lies on a logit, where 0 * inf would be a question.
TEST_F(SampleArgmaxOnDevice, SomeLogitsThatAreNotFiniteDoAsOnTheCpu) {
  for (const int classes : {3, 16, 17, 20}) {
    for (const Size output : {Size{64, 48}, Size{32, 24}, Size{20, 17}}) {
      const Case c{classes, 16, 12, output.width, output.height};
      std::vector<float> logits = c.logits<float>();
      const int area = c.width * c.height;
      std::fill(logits.begin() + area, logits.begin() + 2 * area, -std::numeric_limits<float>::infinity());
      std::fill(logits.begin() + 2 * area, logits.begin() + 2 * area + 50, std::nanf(""));
      std::fill(logits.begin() + 60, logits.begin() + 90, std::nanf(""));
      std::fill(logits.end() - 30, logits.end(), std::numeric_limits<float>::infinity());
      ThreadPool pool(1);
      Image<std::uint8_t> labels(output.width, output.height), confidence(output.width, output.height);
      stpl_rt::sample_argmax({logits.data(), classes, c.width, c.height}, c.geometry(), labels.view(),
                             confidence.view(), pool);
      const DeviceBuffer<float> planes = to_device(logits);
      Maps found(output);
      sample_argmax(PlanarLogits<float>{planes.data(), classes, c.width, c.height}, c.geometry(),
                    found.label_view(), found.confidence_view(), kStream);
      expect_same(c, labels, confidence, found);
    }
  }
}

// What is displaced is read by one kernel if there are 17 to 20 classes and two columns, else by another.
TEST_F(SampleArgmaxOnDevice, DisplacedReadsOfNarrowGridsAndOfAllCounts) {
  for (const int classes : {16, 17, 18, 19, 20, 21}) {
    for (const int width : {1, 2, 9}) {
      for (const int flow_width : {1, 2, 7}) {
        const Case c{classes, width, 6, 31, 22};
        const std::vector<float> logits = c.logits<float>();
        const FlowField flow = reference::random_flow(flow_width, 5, 3, 2.F);
        Image<float> validity(flow_width, 5);
        validity.fill(0.75F);
        ThreadPool pool(1);
        stpl_rt::PackedLogits reference_logits;
        reference_logits.assign({logits.data(), classes, c.width, c.height}, pool);
        Image<std::uint8_t> labels(31, 22), confidence(31, 22);
        stpl_rt::sample_argmax(reference_logits, c.geometry(), flow, validity.cview(), labels.view(),
                               confidence.view(), pool);
        const DeviceBuffer<float> planes = to_device(logits);
        DeviceBuffer<float> memory;
        memory.reserve(packed_size(classes, c.width, c.height));
        const auto packed = pack_logits(PlanarLogits<float>{planes.data(), classes, c.width, c.height},
                                        memory.data(), kStream);
        const DeviceFlow device_flow = to_device(flow);
        const DeviceImage<float> device_validity = to_device(validity.cview());
        Maps found(c.output()), unsure(c.output());
        sample_argmax(packed, c.geometry(), device_flow.cplanes(), device_validity.cview(),
                      found.label_view(), found.confidence_view(), kStream);
        expect_same(c, labels, confidence, found);
        sample_argmax(packed, c.geometry(), device_flow.cplanes(), {}, unsure.label_view(), {}, kStream);
        EXPECT_EQ(count_differing(labels.cview(), to_host(unsure.labels.cview()).cview(), 0), 0) << c;
      }
    }
  }
}

// Of every geometry all of the output is written, each pixel once, from where the CPU reads it.
TEST_F(SampleArgmaxOnDevice, AnyGeometryReadsAsOnTheCpu) {
  std::uint32_t seed = 12345;
  const auto below = [&](int n) {
    seed = seed * 1664525U + 1013904223U;
    return static_cast<int>((seed >> 8) % static_cast<std::uint32_t>(n));
  };
  for (int i = 0; i < 400; ++i) {
    Case c{2, 2 + below(40), 2 + below(40), 1 + below(300), 1 + below(300), below(2) == 1};
    c.resize = below(2) == 1 ? ResizeMode::letterbox : ResizeMode::stretch;
    if (below(2) == 1) {  // about whole ratios
      c.out_width = c.width * (2 + below(7)) + below(3) - 1;
      c.out_height = c.height * (2 + below(7)) + below(3) - 1;
    }
    c.in_width = 1 + below(400);
    c.in_height = 1 + below(400);
    const std::vector<float> logits = c.logits<float>();
    ThreadPool pool(1);
    Image<std::uint8_t> labels(c.out_width, c.out_height), confidence(c.out_width, c.out_height);
    stpl_rt::sample_argmax({logits.data(), c.classes, c.width, c.height}, c.geometry(), labels.view(),
                           confidence.view(), pool);
    const DeviceBuffer<float> planes = to_device(logits);
    Maps found(c.output());
    sample_argmax(PlanarLogits<float>{planes.data(), c.classes, c.width, c.height}, c.geometry(),
                  found.label_view(), found.confidence_view(), kStream);
    expect_same(c, labels, confidence, found);
  }
}

TEST_F(SampleArgmaxOnDevice, RefusesSizesThatDoNotBelongTogether) {
  const Geometry geometry = Case{3, 4, 4, 9, 9}.geometry();
  const float* somewhere = reinterpret_cast<const float*>(256);
  Maps maps({9, 9});
  const auto sample = [&](const PlanarLogits<float>& logits) {
    sample_argmax(logits, geometry, maps.label_view(), {}, kStream);
  };
  EXPECT_THROW(sample({somewhere, 0, 4, 4}), Error);
  EXPECT_THROW(sample({nullptr, 3, 4, 4}), Error);
  EXPECT_THROW(sample({somewhere, 3, 5, 4}), Error);
  const PackedLogits<float> packed = {somewhere, 3, 4, 4};
  const ImageView<const float> validity = {somewhere, 2, 2, 2};
  EXPECT_THROW(sample_argmax(packed, geometry, {}, validity, maps.label_view(), {}, kStream), Error);
}

}  // namespace
}  // namespace stpl_rt::cuda
