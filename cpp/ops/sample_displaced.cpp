// Displaced reads: every output pixel reads its own place in the key frame's packed logits.
#include <algorithm>

#include "core/simd.h"
#include "ops/bilinear.h"
#include "ops/linear_row.h"
#include "ops/sample_argmax.h"
#include "ops/sample_checks.h"
#include "ops/softmax.h"

namespace stpl_rt {
namespace {

constexpr int kLanes = 16;
constexpr int kMostValues = 256;  // of a pixel: all classes that there may be, and padding

struct Sampling {
  const PackedLogits& logits;
  const Geometry& geometry;
  const FlowGeometry& flow_geometry;
  const FlowField& flow;
  const RowTaps& flow_columns;
  ImageView<const float> validity;
  ImageView<std::uint8_t> labels;
  ImageView<std::uint8_t> confidence;
};

// One output row: where each pixel reads.
struct Reads {
  int* pixel;  // of the logits: the upper left one
  float* weight_x;
  float* weight_y;
  float* validity;
};

// In: displacement in flow pixels. Out: weights, in the same places.
STPL_RT_MULTIVERSION
void locate(const Geometry& g, const FlowGeometry& f, float y_out, int width, float* dx_to_weight,
            float* dy_to_weight, int* pixel) {
  const float y_in = g.y(y_out);
  const AxisMap x_map = g.x, to_x = g.to_logits_x, to_y = g.to_logits_y;
  const float min_x = g.min_x, max_x = g.max_x, min_y = g.min_y, max_y = g.max_y;
  const int logits_width = g.logits.width, logits_height = g.logits.height;
  const float scale_x = f.scale_x, scale_y = f.scale_y;
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const float x_in = x_map(static_cast<float>(x)) + dx_to_weight[x] * scale_x;
    const LinearTap tx = linear_tap(to_x(clamp_coordinate(x_in, min_x, max_x)), logits_width);
    const LinearTap ty =
        linear_tap(to_y(clamp_coordinate(y_in + dy_to_weight[x] * scale_y, min_y, max_y)), logits_height);
    pixel[x] = ty.index * logits_width + tx.index;
    dx_to_weight[x] = tx.weight;
    dy_to_weight[x] = ty.weight;
  }
}

// The bilinear read of kLanes classes.
STPL_RT_INLINE void read_lanes(const float* p, std::ptrdiff_t right, std::ptrdiff_t down, float wx, float wy,
                               float* value) {
#pragma omp simd
  for (int i = 0; i < kLanes; ++i) {
    value[i] = mix(mix(p[i], p[i + right], wx), mix(p[i + down], p[i + down + right], wx), wy);
  }
}

// The lowest lane index among those of the largest value.
STPL_RT_INLINE int best_lane(const float* value, const int* index) {
  float most = value[0];
#pragma omp simd reduction(max : most)
  for (int i = 0; i < kLanes; ++i) most = value[i] > most ? value[i] : most;
  int lowest = 1 << 30;
#pragma omp simd reduction(min : lowest)
  for (int i = 0; i < kLanes; ++i) {
    const int candidate = value[i] == most ? index[i] : 1 << 30;
    lowest = candidate < lowest ? candidate : lowest;
  }
  return lowest;
}

// The key frame's logits as the loops below read them.
struct Source {
  const float* data;
  std::ptrdiff_t right, down;  // to the neighbouring pixels, in floats
  const std::uint8_t* cells;
  int classes;
  int padded;

  explicit Source(const PackedLogits& logits)
      : data(logits.data()),
        right(logits.size().width > 1 ? logits.padded_classes() : 0),
        down(logits.size().height > 1
                 ? static_cast<std::ptrdiff_t>(logits.size().width) * logits.padded_classes()
                 : 0),
        cells(logits.cells()),
        classes(logits.classes()),
        padded(logits.padded_classes()) {}
};

// The bilinear read of all classes of one pixel: `groups` times kLanes values.
STPL_RT_INLINE void read_pixel(const Source& source, int groups, const Reads& reads, int x, float* value) {
  const float* p = source.data + std::ptrdiff_t{reads.pixel[x]} * groups * kLanes;
  for (int g = 0; g < groups; ++g) {
    read_lanes(p + g * kLanes, source.right, source.down, reads.weight_x[x], reads.weight_y[x],
               value + g * kLanes);
  }
}

// The lowest of the largest of `groups` times kLanes values; 0 where all are NaN.
STPL_RT_INLINE int argmax_of(const float* value, int groups, int classes) {
  alignas(64) float best[kLanes];
  alignas(64) int index[kLanes];
#pragma omp simd
  for (int i = 0; i < kLanes; ++i) {
    best[i] = value[i];
    index[i] = i;
  }
  for (int g = 1; g < groups; ++g) {
    const float* const next = value + g * kLanes;
#pragma omp simd
    for (int i = 0; i < kLanes; ++i) {
      const int candidate = next[i] > best[i] ? g * kLanes + i : 0;
      index[i] = candidate > index[i] ? candidate : index[i];
      best[i] = next[i] > best[i] ? next[i] : best[i];
    }
  }
  const int label = best_lane(best, index);
  return label < classes ? label : 0;
}

// `groups`: how many times kLanes classes; a constant where it is inlined with one.
STPL_RT_INLINE void argmax_row(const Source& source, int groups, const Reads& reads, int width,
                               std::uint8_t* labels) {
  alignas(64) float value[kMostValues] = {};
  for (int x = 0; x < width; ++x) {
    if (const std::uint8_t cell = source.cells[reads.pixel[x]]; cell != PackedLogits::kUndecided) {
      labels[x] = cell;
      continue;
    }
    read_pixel(source, groups, reads, x, value);
    labels[x] = static_cast<std::uint8_t>(argmax_of(value, groups, source.classes));
  }
}

// The same with the label's softmax probability.
STPL_RT_INLINE void probable_row(const Source& source, int groups, const Reads& reads, int width,
                                 std::uint8_t* labels, float* probability) {
  alignas(64) float value[kMostValues] = {};
  const auto repeated = static_cast<float>(source.padded - source.classes);  // of class 0, as padding
  for (int x = 0; x < width; ++x) {
    read_pixel(source, groups, reads, x, value);
    int label = source.cells[reads.pixel[x]];
    if (label == PackedLogits::kUndecided) label = argmax_of(value, groups, source.classes);
    labels[x] = static_cast<std::uint8_t>(label);
    const float top = value[label];
    alignas(64) float sum[kLanes];
#pragma omp simd
    for (int i = 0; i < kLanes; ++i) sum[i] = exp_nonpositive(value[i] - top);
    const float first = sum[0];
    for (int g = 1; g < groups; ++g) {
      const float* const next = value + g * kLanes;
#pragma omp simd
      for (int i = 0; i < kLanes; ++i) sum[i] += exp_nonpositive(next[i] - top);
    }
    for (int half = kLanes / 2; half > 0; half /= 2) {  // a tree: summing in order would be a chain of 16
#pragma omp simd
      for (int i = 0; i < half; ++i) sum[i] += sum[i + half];
    }
    probability[x] = sum[0] - repeated * first;
  }
#pragma omp simd
  for (int x = 0; x < width; ++x) probability[x] = 1.F / probability[x];
}

// One clone each for up to 16 classes, up to 32, and more. `probability`: null where it is not asked for.
STPL_RT_MULTIVERSION
void label_row_16(const Source& source, const Reads& reads, int width, std::uint8_t* labels,
                  float* probability) {
  if (probability == nullptr) return argmax_row(source, 1, reads, width, labels);
  probable_row(source, 1, reads, width, labels, probability);
}

STPL_RT_MULTIVERSION
void label_row_32(const Source& source, const Reads& reads, int width, std::uint8_t* labels,
                  float* probability) {
  if (probability == nullptr) return argmax_row(source, 2, reads, width, labels);
  probable_row(source, 2, reads, width, labels, probability);
}

STPL_RT_MULTIVERSION
void label_row_any(const Source& source, const Reads& reads, int width, std::uint8_t* labels,
                   float* probability) {
  const int groups = source.padded / kLanes;
  if (probability == nullptr) return argmax_row(source, groups, reads, width, labels);
  probable_row(source, groups, reads, width, labels, probability);
}

STPL_RT_MULTIVERSION
void confidence_row(const float* probability, const float* validity, int width, std::uint8_t* confidence) {
  if (validity == nullptr) {
#pragma omp simd
    for (int x = 0; x < width; ++x)
      confidence[x] = static_cast<std::uint8_t>(confidence_byte(probability[x], 1.F));
  } else {
#pragma omp simd
    for (int x = 0; x < width; ++x) {
      confidence[x] = static_cast<std::uint8_t>(confidence_byte(probability[x], validity[x]));
    }
  }
}

// The read classes of each pixel, a plane each, `plane` apart.
STPL_RT_MULTIVERSION
void carry_row(const Source& source, const Reads& reads, int width, std::ptrdiff_t plane, float* out) {
  for (int x = 0; x < width; ++x) {
    const float* p = source.data + std::ptrdiff_t{reads.pixel[x]} * source.padded;
    for (int first = 0; first < source.classes; first += kLanes) {
      alignas(64) float value[kLanes];
      read_lanes(p + first, source.right, source.down, reads.weight_x[x], reads.weight_y[x], value);
      const int count = std::min(kLanes, source.classes - first);
      for (int i = 0; i < count; ++i) out[(first + i) * plane + x] = value[i];
    }
  }
}

// Reads a plane of the flow grid at every pixel of an output row.
void widen(ImageView<const float> plane, LinearTap tap, const RowTaps& columns, int width, float* blended,
           float* out) {
  const float* below = plane.row(std::min(tap.index + 1, plane.height - 1));
  mix_rows(plane.row(tap.index), below, tap.weight, plane.width, blended);
  columns.expand(blended, 0, width, out);
}

// Scratch of one thread: rows of the output's width, and one of the flow grid's.
struct Scratch {
  Scratch(int width, int flow_width) {
    const int padded = (width + kLanes - 1) / kLanes * kLanes;
    const int flow_padded = (flow_width + kLanes - 1) / kLanes * kLanes;
    floats.reserve(static_cast<std::size_t>(4 * padded + flow_padded));
    pixels.reserve(static_cast<std::size_t>(padded));
    reads = {pixels.data(), floats.data(), floats.data() + padded, floats.data() + 2 * padded};
    probability = floats.data() + 3 * padded;
    blended = floats.data() + 4 * padded;
  }

  static thread_local AlignedBuffer<float> floats;
  static thread_local AlignedBuffer<int> pixels;
  Reads reads{};
  float* probability = nullptr;
  float* blended = nullptr;
};

thread_local AlignedBuffer<float> Scratch::floats;
thread_local AlignedBuffer<int> Scratch::pixels;

// Where the pixels of output row y read. Returns the row of the flow grid that it lies on.
LinearTap locate_reads(const Sampling& s, int y, const Scratch& scratch) {
  const Geometry& g = s.geometry;
  const int width = g.output.width;
  const Reads& reads = scratch.reads;
  const auto y_out = static_cast<float>(y);
  const LinearTap tap = linear_tap(s.flow_geometry.y(g.y(y_out)), s.flow.height());
  widen(s.flow.dx.cview(), tap, s.flow_columns, width, scratch.blended, reads.weight_x);
  widen(s.flow.dy.cview(), tap, s.flow_columns, width, scratch.blended, reads.weight_y);
  locate(g, s.flow_geometry, y_out, width, reads.weight_x, reads.weight_y, reads.pixel);
  return tap;
}

void sample_row(const Sampling& s, int y, const Scratch& scratch) {
  const int width = s.geometry.output.width;
  const LinearTap tap = locate_reads(s, y, scratch);
  Reads reads = scratch.reads;
  const Source source(s.logits);
  const auto label = source.padded == kLanes       ? label_row_16
                     : source.padded == 2 * kLanes ? label_row_32
                                                   : label_row_any;
  label(source, reads, width, s.labels.row(y), s.confidence.empty() ? nullptr : scratch.probability);
  if (s.confidence.empty()) return;
  if (s.validity.empty()) {
    reads.validity = nullptr;
  } else {
    widen(s.validity, tap, s.flow_columns, width, scratch.blended, reads.validity);
  }
  confidence_row(scratch.probability, reads.validity, width, s.confidence.row(y));
}

}  // namespace

void sample_argmax(const PackedLogits& logits, const Geometry& geometry, const FlowField& flow,
                   ImageView<const float> validity, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, ThreadPool& pool) {
  check_sampling(geometry, logits.size(), labels, confidence);
  check_flow(flow, validity);

  static thread_local RowTaps columns;
  const FlowGeometry flow_geometry = make_flow_geometry(geometry.input, flow.size());
  columns.build(geometry.x, flow_geometry.x, geometry.output.width, flow.width());
  const Sampling sampling{logits, geometry, flow_geometry, flow, columns, validity, labels, confidence};
  pool.parallel_for(geometry.output.height, 4, [&](int begin, int end) {
    const Scratch scratch(sampling.geometry.output.width, sampling.flow.width());
    for (int y = begin; y < end; ++y) sample_row(sampling, y, scratch);
  });
}

void carry_logits(const PackedLogits& logits, const Geometry& geometry, const FlowField& flow, float* out,
                  ThreadPool& pool) {
  check_flow(flow, {});
  static thread_local RowTaps columns;
  const FlowGeometry flow_geometry = make_flow_geometry(geometry.input, flow.size());
  const Size size = geometry.output;
  columns.build(geometry.x, flow_geometry.x, size.width, flow.width());
  const Sampling sampling{logits, geometry, flow_geometry, flow, columns, {}, {}, {}};
  pool.parallel_for(size.height, 4, [&](int begin, int end) {
    const Scratch scratch(size.width, sampling.flow.width());
    for (int y = begin; y < end; ++y) {
      locate_reads(sampling, y, scratch);
      carry_row(Source(sampling.logits), scratch.reads, size.width,
                static_cast<std::ptrdiff_t>(size.width) * size.height,
                out + static_cast<std::ptrdiff_t>(y) * size.width);
    }
  });
}

}  // namespace stpl_rt
