// Displaced reads: every output pixel reads its own place in the key frame's packed logits, four classes at a
// time, unless the labels of the four pixels there tell all that is asked.
#include <cstdint>

#include "core/cuda/launch.h"
#include "ops/bilinear.h"
#include "ops/sample_argmax_cuda.h"
#include "ops/sample_checks.h"
#include "ops/softmax.h"

namespace stpl_rt::cuda {
namespace {

template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T values[4];
};

// Quads of a pixel that has 17 to 20 classes, as of Cityscapes' 19. Where it is a constant the loop over them
// is unrolled, and their values stay in registers.
constexpr int kUsualQuads = 5;
constexpr int kAnyQuads = 0;

template <class T>
struct Pack {
  PlanarLogits<T> logits;
  Quad<T>* out;
  std::uint8_t* labels;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(logits.width) * logits.height;
    const std::ptrdiff_t pixel = static_cast<std::ptrdiff_t>(y) * logits.width + x;
    const int quads = (logits.classes + 3) / 4;
    float best = to_float(logits.data[pixel]);
    int label = 0;
    for (int q = 0; q < quads; ++q) {
      Quad<T> quad;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int c = 4 * q + i < logits.classes ? 4 * q + i : 0;
        quad.values[i] = logits.data[c * area + pixel];
        const float value = to_float(quad.values[i]);
        label = value > best ? c : label;
        best = value > best ? value : best;
      }
      out[pixel * quads + q] = quad;
    }
    labels[pixel] = static_cast<std::uint8_t>(label);
  }
};

// A plane of the flow's grid. Its pixels are counted in 32 bits: every address is one multiplication then.
struct FlowPlane {
  const float* data = nullptr;          // null: there is none
  int stride = 0, right = 0, down = 0;  // the last two: to the neighbours, 0 where there are none

  FlowPlane() = default;
  explicit FlowPlane(const ImageView<const float>& plane)
      : data(plane.data),
        stride(static_cast<int>(plane.stride)),
        right(plane.width > 1 ? 1 : 0),
        down(plane.height > 1 ? stride : 0) {}

  template <bool kUsual>
  STPL_RT_KERNEL float read(const LinearTap& column, const LinearTap& row) const {
    const int at = row.index * stride + column.index;
    const float* upper = data + at;
    const float* lower = data + (at + down);
    const int next = kUsual ? 1 : right;
    return mix(mix(upper[0], lower[0], row.weight), mix(upper[next], lower[next], row.weight), column.weight);
  }
};

// Where one output pixel reads.
struct Place {
  LinearTap flow_column, flow_row;
  int pixel;  // of the logits: the upper left one
  BilinearWeights weights;
};

// What the pixels of an output share, worked out once: of 500 instructions for a pixel of 19 classes half
// were for addresses and ranges. `kUsual`: there is flow, and both grids have two columns at least.
template <class T>
struct Displaced {
  const Quad<T>* logits;
  const std::uint8_t* labels;       // of the logits' pixels
  int classes, width, right, down;  // the last two: to the neighbouring pixels, in pixels
  AxisMap x, y, to_flow_x, to_flow_y, to_logits_x, to_logits_y;
  TapRange flow_x_range, flow_y_range, logits_x_range, logits_y_range;
  float min_x, max_x, min_y, max_y, scale_x, scale_y;
  FlowPlane dx, dy;

  Displaced(const PackedLogits<T>& packed, const Geometry& g, const FlowGeometry& f,
            const ConstFlowPlanes& flow, Size flow_size)
      : logits(reinterpret_cast<const Quad<T>*>(packed.data)),
        labels(packed.labels()),
        classes(packed.classes),
        width(packed.width),
        right(packed.width > 1 ? 1 : 0),
        down(packed.height > 1 ? packed.width : 0),
        x(g.x),
        y(g.y),
        to_flow_x(f.x),
        to_flow_y(f.y),
        to_logits_x(g.to_logits_x),
        to_logits_y(g.to_logits_y),
        flow_x_range(flow_size.width),
        flow_y_range(flow_size.height),
        logits_x_range(packed.width),
        logits_y_range(packed.height),
        min_x(g.min_x),
        max_x(g.max_x),
        min_y(g.min_y),
        max_y(g.max_y),
        scale_x(f.scale_x),
        scale_y(f.scale_y),
        dx(flow.dx),
        dy(flow.dy) {}

  template <bool kUsual>
  STPL_RT_KERNEL Place place(int x_out, int y_out) const {
    float x_in = x(static_cast<float>(x_out));
    float y_in = y(static_cast<float>(y_out));
    Place place;
    place.flow_column = linear_tap(to_flow_x(x_in), flow_x_range);
    place.flow_row = linear_tap(to_flow_y(y_in), flow_y_range);
    if (kUsual || dx.data != nullptr) {
      const float x_by = dx.template read<kUsual>(place.flow_column, place.flow_row);
      const float y_by = dy.template read<kUsual>(place.flow_column, place.flow_row);
      x_in = clamp_coordinate(x_in + x_by * scale_x, min_x, max_x);
      y_in = clamp_coordinate(y_in + y_by * scale_y, min_y, max_y);
    }
    const LinearTap column = linear_tap(to_logits_x(x_in), logits_x_range);
    const LinearTap row = linear_tap(to_logits_y(y_in), logits_y_range);
    place.pixel = row.index * width + column.index;
    place.weights = bilinear_weights(column.weight, row.weight);
    return place;
  }

  // The label that the four pixels of a read have in common, or a negative number. Where there is one, that
  // class is the largest of any read between them, and no logit needs to be read: of most pixels of an image.
  template <bool kUsual>
  STPL_RT_KERNEL int common_label(const Place& place) const {
    const std::uint8_t* upper = labels + place.pixel;
    const std::uint8_t* lower = upper + down;
    const int next = kUsual ? 1 : right;
    const int label = upper[0], a = upper[next], b = lower[0],
              c = lower[next];  // at once: none waits for another
    return (label == a) & (label == b) & (label == c) ? label : -1;
  }

  // Calls use(c, value) for all classes, in order, and for those that pad the last quad.
  template <int kQuads, class Use>
  STPL_RT_KERNEL void read_classes(const Place& place, Use&& use) const {
    const int quads = kQuads == kAnyQuads ? (classes + 3) / 4 : kQuads;
    const int next = kQuads == kAnyQuads ? right * quads : quads;
    const Quad<T>* upper = logits + static_cast<std::ptrdiff_t>(place.pixel) * quads;
    const Quad<T>* lower = logits + static_cast<std::ptrdiff_t>(place.pixel + down) * quads;
    const auto read_quad = [&](int q, const Quad<T>* upper, const Quad<T>* lower) {
      const Quad<T> upper_left = upper[0];
      const Quad<T> upper_right = upper[next];
      const Quad<T> lower_left = lower[0];
      const Quad<T> lower_right = lower[next];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        use(4 * q + i, blend(to_float(upper_left.values[i]), to_float(upper_right.values[i]),
                             to_float(lower_left.values[i]), to_float(lower_right.values[i]), place.weights));
      }
    };
    if constexpr (kQuads == kAnyQuads) {
#pragma unroll 2
      for (int q = 0; q < quads; ++q) read_quad(q, upper++, lower++);
    } else {
#pragma unroll
      for (int q = 0; q < kQuads; ++q) read_quad(q, upper + q, lower + q);
    }
  }
};

template <class T, int kQuads, bool kConfidence>
struct SampleDisplaced {
  static constexpr bool kUsual = kQuads != kAnyQuads;
  Displaced<T> source;
  FlowPlane validity;
  ImageView<std::uint8_t> labels;
  ImageView<std::uint8_t> confidence;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const Place place = source.template place<kUsual>(x, y);
    std::uint8_t& to = labels.row(y)[x];
    if constexpr (!kConfidence) {
      if (const int common = source.template common_label<kUsual>(place); common >= 0) {
        to = static_cast<std::uint8_t>(common);
        return;
      }
    }
    float best = 0.F;
    int label = 0;
    float values[kUsual ? 4 * kQuads : 1];
    source.template read_classes<kQuads>(place, [&](int c, float value) {
      const bool better = c == 0 || value > best;
      label = better ? c : label;
      best = better ? value : best;
      if constexpr (kUsual) values[c] = value;
    });
    // Rounded otherwise than class 0, which it repeats, a padding class might be the best by a hair.
    to = static_cast<std::uint8_t>(label < source.classes ? label : 0);
    if constexpr (kConfidence) {
      float sum = 0.F;
      const auto add = [&](int c, float value) {
        // Only the last quad is padded.
        const bool real = (kUsual && c <= 4 * (kQuads - 1)) || c < source.classes;
        sum += real ? exp_nonpositive(value - best) : 0.F;
      };
      if constexpr (kUsual) {
#pragma unroll
        for (int c = 0; c < 4 * kQuads; ++c) add(c, values[c]);
      } else {
        source.template read_classes<kQuads>(place, add);
      }
      float trust = 1.F;
      if (validity.data != nullptr) {
        trust = validity.template read<kUsual>(place.flow_column, place.flow_row);
      }
      confidence.row(y)[x] = static_cast<std::uint8_t>(confidence_byte(reciprocal(sum), trust));
    }
  }
};

template <class T, class U>
struct Carry {
  Displaced<T> source;
  Size size;
  U* out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(size.width) * size.height;
    U* pixel = out + static_cast<std::ptrdiff_t>(y) * size.width + x;
    const Place place = source.template place<false>(x, y);
    source.template read_classes<kAnyQuads>(place, [&](int c, float value) {
      if (c < source.classes) pixel[c * area] = from_float<U>(value);
    });
  }
};

template <class T>
Displaced<T> make_displaced(const PackedLogits<T>& logits, const Geometry& geometry,
                            const ConstFlowPlanes& flow, ImageView<const float> validity) {
  check_logits(logits.data, logits.classes, {logits.width, logits.height});
  if (flow.empty() && validity.empty()) return {logits, geometry, {}, {}, {1, 1}};
  check_flow(flow.size(), flow.dy.size(), validity);
  return {logits, geometry, make_flow_geometry(geometry.input, flow.size()), flow, flow.size()};
}

template <class T, int kQuads>
void sample_displaced(const Displaced<T>& source, const FlowPlane& validity, ImageView<std::uint8_t> labels,
                      ImageView<std::uint8_t> confidence, StreamHandle stream) {
  if (confidence.empty()) {
    for_each_pixel(SampleDisplaced<T, kQuads, false>{source, validity, labels, confidence}, labels.size(),
                   stream);
  } else {
    for_each_pixel(SampleDisplaced<T, kQuads, true>{source, validity, labels, confidence}, labels.size(),
                   stream);
  }
}

}  // namespace

template <class T>
PackedLogits<T> pack_logits(const PlanarLogits<T>& logits, T* out, StreamHandle stream) {
  check_logits(logits.data, logits.classes, {logits.width, logits.height});
  const PackedLogits<T> packed = {out, logits.classes, logits.width, logits.height};
  for_each_pixel(Pack<T>{logits, reinterpret_cast<Quad<T>*>(out), const_cast<std::uint8_t*>(packed.labels())},
                 {logits.width, logits.height}, stream);
  return packed;
}

template <class T>
void sample_argmax(const PackedLogits<T>& logits, const Geometry& geometry, const ConstFlowPlanes& flow,
                   ImageView<const float> validity, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, StreamHandle stream) {
  const Displaced<T> source = make_displaced(logits, geometry, flow, validity);
  check_sampling(geometry, {logits.width, logits.height}, labels, confidence);
  const FlowPlane trust(validity);
  if (logits.quads() == kUsualQuads && logits.width > 1 && flow.dx.width > 1) {
    sample_displaced<T, kUsualQuads>(source, trust, labels, confidence, stream);
  } else {
    sample_displaced<T, kAnyQuads>(source, trust, labels, confidence, stream);
  }
}

template <class T, class U>
void carry_logits(const PackedLogits<T>& logits, const Geometry& geometry, const ConstFlowPlanes& flow,
                  U* out, StreamHandle stream) {
  const Displaced<T> source = make_displaced(logits, geometry, flow, {});
  for_each_pixel(Carry<T, U>{source, geometry.output, out}, geometry.output, stream);
}

template PackedLogits<float> pack_logits(const PlanarLogits<float>&, float*, StreamHandle);
template void sample_argmax(const PackedLogits<float>&, const Geometry&, const ConstFlowPlanes&,
                            ImageView<const float>, ImageView<std::uint8_t>, ImageView<std::uint8_t>,
                            StreamHandle);
template void carry_logits(const PackedLogits<float>&, const Geometry&, const ConstFlowPlanes&, float*,
                           StreamHandle);
template void carry_logits(const PackedLogits<float>&, const Geometry&, const ConstFlowPlanes&, Half*,
                           StreamHandle);

template PackedLogits<Half> pack_logits(const PlanarLogits<Half>&, Half*, StreamHandle);
template void sample_argmax(const PackedLogits<Half>&, const Geometry&, const ConstFlowPlanes&,
                            ImageView<const float>, ImageView<std::uint8_t>, ImageView<std::uint8_t>,
                            StreamHandle);
template void carry_logits(const PackedLogits<Half>&, const Geometry&, const ConstFlowPlanes&, Half*,
                           StreamHandle);
template void carry_logits(const PackedLogits<Half>&, const Geometry&, const ConstFlowPlanes&, float*,
                           StreamHandle);

}  // namespace stpl_rt::cuda
