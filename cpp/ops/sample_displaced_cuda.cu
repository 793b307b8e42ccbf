// Displaced reads: every output pixel reads its own place in the key frame's packed logits, four classes at a
// time.
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

template <class T>
struct Pack {
  PlanarLogits<T> logits;
  Quad<T>* out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(logits.width) * logits.height;
    const std::ptrdiff_t pixel = static_cast<std::ptrdiff_t>(y) * logits.width + x;
    const int quads = (logits.classes + 3) / 4;
    for (int q = 0; q < quads; ++q) {
      Quad<T> quad;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int c = 4 * q + i;
        quad.values[i] = logits.data[(c < logits.classes ? c : 0) * area + pixel];
      }
      out[pixel * quads + q] = quad;
    }
  }
};

// Where one output pixel reads.
struct Place {
  std::ptrdiff_t offset, right, down;  // in quads
  BilinearWeights weights;
};

// What the pixels of an output share.
template <class T>
struct Displaced {
  PackedLogits<T> logits;
  Geometry geometry;
  FlowGeometry flow_geometry;
  ConstFlowPlanes flow;

  // The pixel of the flow grid that output pixel (x, y) lies on.
  STPL_RT_KERNEL void flow_taps(int x, int y, LinearTap& column, LinearTap& row) const {
    column = linear_tap(flow_geometry.x(geometry.x(static_cast<float>(x))), flow.dx.width);
    row = linear_tap(flow_geometry.y(geometry.y(static_cast<float>(y))), flow.dx.height);
  }
  STPL_RT_KERNEL static float read(const ImageView<const float>& plane, const LinearTap& column,
                                   const LinearTap& row) {
    const float* upper = plane.row(row.index) + column.index;
    const float* lower = upper + (plane.height > 1 ? plane.stride : 0);
    const int right = plane.width > 1 ? 1 : 0;
    return mix(mix(upper[0], lower[0], row.weight), mix(upper[right], lower[right], row.weight),
               column.weight);
  }
  STPL_RT_KERNEL Place place(int x, int y, const LinearTap& column, const LinearTap& row) const {
    const Geometry& g = geometry;
    float x_in = g.x(static_cast<float>(x));
    float y_in = g.y(static_cast<float>(y));
    if (!flow.empty()) {
      x_in = clamp_coordinate(x_in + read(flow.dx, column, row) * flow_geometry.scale_x, g.min_x, g.max_x);
      y_in = clamp_coordinate(y_in + read(flow.dy, column, row) * flow_geometry.scale_y, g.min_y, g.max_y);
    }
    const LinearTap tx = linear_tap(g.to_logits_x(x_in), logits.width);
    const LinearTap ty = linear_tap(g.to_logits_y(y_in), logits.height);
    const int quads = logits.quads();
    return {(static_cast<std::ptrdiff_t>(ty.index) * logits.width + tx.index) * quads,
            logits.width > 1 ? quads : 0,
            logits.height > 1 ? static_cast<std::ptrdiff_t>(logits.width) * quads : 0,
            bilinear_weights(tx.weight, ty.weight)};
  }
  // Calls use(c, value) for all classes, in order, and for those that pad the last quad.
  template <class Use>
  STPL_RT_KERNEL void read_classes(const Place& place, Use&& use) const {
    const Quad<T>* at = reinterpret_cast<const Quad<T>*>(logits.data) + place.offset;
    const int quads = logits.quads();
#pragma unroll 2
    for (int q = 0; q < quads; ++q, ++at) {
      const Quad<T> upper_left = at[0];
      const Quad<T> upper_right = at[place.right];
      const Quad<T> lower_left = at[place.down];
      const Quad<T> lower_right = at[place.down + place.right];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        use(4 * q + i, blend(to_float(upper_left.values[i]), to_float(upper_right.values[i]),
                             to_float(lower_left.values[i]), to_float(lower_right.values[i]), place.weights));
      }
    }
  }
};

template <class T, bool kConfidence>
struct SampleDisplaced {
  Displaced<T> source;
  ImageView<const float> validity;
  ImageView<std::uint8_t> labels;
  ImageView<std::uint8_t> confidence;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    LinearTap column{}, row{};
    if (!source.flow.empty()) source.flow_taps(x, y, column, row);
    const Place place = source.place(x, y, column, row);
    float best = 0.F;
    int label = 0;
    source.read_classes(place, [&](int c, float value) {
      const bool better = c == 0 || value > best;
      label = better ? c : label;
      best = better ? value : best;
    });
    // Rounded otherwise than class 0, which it repeats, a padding class might be the best by a hair.
    labels.row(y)[x] = static_cast<std::uint8_t>(label < source.logits.classes ? label : 0);
    if constexpr (kConfidence) {
      float sum = 0.F;
      source.read_classes(place, [&](int c, float value) {
        sum += c < source.logits.classes ? exp_nonpositive(value - best) : 0.F;
      });
      const float trust = validity.empty() ? 1.F : Displaced<T>::read(validity, column, row);
      confidence.row(y)[x] = static_cast<std::uint8_t>(confidence_byte(1.F / sum, trust));
    }
  }
};

template <class T, class U>
struct Carry {
  Displaced<T> source;
  U* out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    LinearTap column{}, row{};
    if (!source.flow.empty()) source.flow_taps(x, y, column, row);
    const Size size = source.geometry.output;
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(size.width) * size.height;
    U* pixel = out + static_cast<std::ptrdiff_t>(y) * size.width + x;
    source.read_classes(source.place(x, y, column, row), [&](int c, float value) {
      if (c < source.logits.classes) pixel[c * area] = from_float<U>(value);
    });
  }
};

template <class T>
Displaced<T> make_displaced(const PackedLogits<T>& logits, const Geometry& geometry,
                            const ConstFlowPlanes& flow, ImageView<const float> validity) {
  check_logits(logits.data, logits.classes, {logits.width, logits.height});
  if (flow.empty() && validity.empty()) return {logits, geometry, {}, flow};
  check_flow(flow.size(), flow.dy.size(), validity);
  return {logits, geometry, make_flow_geometry(geometry.input, flow.size()), flow};
}

}  // namespace

template <class T>
PackedLogits<T> pack_logits(const PlanarLogits<T>& logits, T* out, StreamHandle stream) {
  check_logits(logits.data, logits.classes, {logits.width, logits.height});
  for_each_pixel(Pack<T>{logits, reinterpret_cast<Quad<T>*>(out)}, {logits.width, logits.height}, stream);
  return {out, logits.classes, logits.width, logits.height};
}

template <class T>
void sample_argmax(const PackedLogits<T>& logits, const Geometry& geometry, const ConstFlowPlanes& flow,
                   ImageView<const float> validity, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, StreamHandle stream) {
  const Displaced<T> source = make_displaced(logits, geometry, flow, validity);
  check_sampling(geometry, {logits.width, logits.height}, labels, confidence);
  if (confidence.empty()) {
    for_each_pixel(SampleDisplaced<T, false>{source, validity, labels, confidence}, geometry.output, stream);
  } else {
    for_each_pixel(SampleDisplaced<T, true>{source, validity, labels, confidence}, geometry.output, stream);
  }
}

template <class T, class U>
void carry_logits(const PackedLogits<T>& logits, const Geometry& geometry, const ConstFlowPlanes& flow,
                  U* out, StreamHandle stream) {
  for_each_pixel(Carry<T, U>{make_displaced(logits, geometry, flow, {}), out}, geometry.output, stream);
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
