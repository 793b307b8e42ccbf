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
  int* offset;  // of the upper left logits pixel, in floats
  float* weight_x;
  float* weight_y;
  float* validity;
};

// In: displacement in flow pixels. Out: weights, in the same places.
STPL_RT_MULTIVERSION
void locate(const Geometry& g, const FlowGeometry& f, int padded, float y_out, int width, float* dx_to_weight,
            float* dy_to_weight, int* offset) {
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
    offset[x] = (ty.index * logits_width + tx.index) * padded;
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

// The lowest lane index among those of the largest value; `largest` is that value.
STPL_RT_INLINE int best_lane(const float* value, const int* index, float& largest) {
  float most = value[0];
#pragma omp simd reduction(max : most)
  for (int i = 0; i < kLanes; ++i) most = value[i] > most ? value[i] : most;
  int lowest = 1 << 30;
#pragma omp simd reduction(min : lowest)
  for (int i = 0; i < kLanes; ++i) {
    const int candidate = value[i] == most ? index[i] : 1 << 30;
    lowest = candidate < lowest ? candidate : lowest;
  }
  largest = most;
  return lowest;
}

struct Steps {
  std::ptrdiff_t right;
  std::ptrdiff_t down;
};

// `groups`: how many times kLanes classes; a constant where it is inlined with one.
STPL_RT_INLINE void argmax_row(const float* data, Steps steps, int classes, int groups, const Reads& reads,
                               int width, std::uint8_t* labels, float* best_out) {
  for (int x = 0; x < width; ++x) {
    const float* p = data + reads.offset[x];
    const float wx = reads.weight_x[x];
    const float wy = reads.weight_y[x];
    alignas(64) float best[kLanes];
    alignas(64) int index[kLanes];
    read_lanes(p, steps.right, steps.down, wx, wy, best);
    for (int i = 0; i < kLanes; ++i) index[i] = i;
    for (int g = 1; g < groups; ++g) {
      alignas(64) float value[kLanes];
      read_lanes(p + g * kLanes, steps.right, steps.down, wx, wy, value);
#pragma omp simd
      for (int i = 0; i < kLanes; ++i) {
        const int candidate = value[i] > best[i] ? g * kLanes + i : 0;
        index[i] = candidate > index[i] ? candidate : index[i];
        best[i] = value[i] > best[i] ? value[i] : best[i];
      }
    }
    const int label = best_lane(best, index, best_out[x]);
    labels[x] =
        static_cast<std::uint8_t>(label < classes ? label : 0);  // out of range only where all are NaN
  }
}

// One clone each for up to 16 classes, up to 32, and more.
STPL_RT_MULTIVERSION
void argmax_row_16(const float* data, Steps steps, int classes, const Reads& reads, int width,
                   std::uint8_t* labels, float* best) {
  argmax_row(data, steps, classes, 1, reads, width, labels, best);
}

STPL_RT_MULTIVERSION
void argmax_row_32(const float* data, Steps steps, int classes, const Reads& reads, int width,
                   std::uint8_t* labels, float* best) {
  argmax_row(data, steps, classes, 2, reads, width, labels, best);
}

STPL_RT_MULTIVERSION
void argmax_row_any(const float* data, Steps steps, int classes, int groups, const Reads& reads, int width,
                    std::uint8_t* labels, float* best) {
  argmax_row(data, steps, classes, groups, reads, width, labels, best);
}

// In: the largest logit of each pixel. Out, in the same place: its softmax probability.
STPL_RT_MULTIVERSION
void probability_row(const float* data, Steps steps, int classes, int padded, const Reads& reads, int width,
                     float* best) {
  for (int x = 0; x < width; ++x) {
    const float* p = data + reads.offset[x];
    const float top = best[x];
    alignas(64) float sum[kLanes] = {};
    float first = 0.F;
    for (int c = 0; c < padded; c += kLanes) {
      alignas(64) float term[kLanes];
      read_lanes(p + c, steps.right, steps.down, reads.weight_x[x], reads.weight_y[x], term);
#pragma omp simd
      for (int i = 0; i < kLanes; ++i) term[i] = exp_nonpositive(term[i] - top);
      if (c == 0) first = term[0];
#pragma omp simd
      for (int i = 0; i < kLanes; ++i) sum[i] += term[i];
    }
    for (int half = kLanes / 2; half > 0; half /= 2) {  // a tree: summing in order would be a chain of 16
#pragma omp simd
      for (int i = 0; i < half; ++i) sum[i] += sum[i + half];
    }
    best[x] = sum[0] - static_cast<float>(padded - classes) * first;  // the padding repeats class 0
  }
#pragma omp simd
  for (int x = 0; x < width; ++x) best[x] = 1.F / best[x];
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
void carry_row(const float* data, Steps steps, int classes, const Reads& reads, int width,
               std::ptrdiff_t plane, float* out) {
  for (int x = 0; x < width; ++x) {
    const float* p = data + reads.offset[x];
    for (int first = 0; first < classes; first += kLanes) {
      alignas(64) float value[kLanes];
      read_lanes(p + first, steps.right, steps.down, reads.weight_x[x], reads.weight_y[x], value);
      const int count = std::min(kLanes, classes - first);
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

// Scratch of one thread: five rows of the output's width and one of the flow grid's.
struct Scratch {
  Scratch(int width, int flow_width) {
    const int padded = (width + kLanes - 1) / kLanes * kLanes;
    const int flow_padded = (flow_width + kLanes - 1) / kLanes * kLanes;
    floats.reserve(static_cast<std::size_t>(4 * padded + flow_padded));
    offsets.reserve(static_cast<std::size_t>(padded));
    reads = {offsets.data(), floats.data(), floats.data() + padded, floats.data() + 2 * padded};
    best = floats.data() + 3 * padded;
    blended = floats.data() + 4 * padded;
  }

  static thread_local AlignedBuffer<float> floats;
  static thread_local AlignedBuffer<int> offsets;
  Reads reads{};
  float* best = nullptr;
  float* blended = nullptr;
};

thread_local AlignedBuffer<float> Scratch::floats;
thread_local AlignedBuffer<int> Scratch::offsets;

// Where the pixels of output row y read. Returns the row of the flow grid that it lies on.
LinearTap locate_reads(const Sampling& s, int y, const Scratch& scratch) {
  const Geometry& g = s.geometry;
  const int width = g.output.width;
  const Reads& reads = scratch.reads;
  const auto y_out = static_cast<float>(y);
  const LinearTap tap = linear_tap(s.flow_geometry.y(g.y(y_out)), s.flow.height());
  widen(s.flow.dx.cview(), tap, s.flow_columns, width, scratch.blended, reads.weight_x);
  widen(s.flow.dy.cview(), tap, s.flow_columns, width, scratch.blended, reads.weight_y);
  locate(g, s.flow_geometry, s.logits.padded_classes(), y_out, width, reads.weight_x, reads.weight_y,
         reads.offset);
  return tap;
}

Steps steps_of(const PackedLogits& logits) {
  const int padded = logits.padded_classes();
  return {logits.size().width > 1 ? padded : 0,
          logits.size().height > 1 ? static_cast<std::ptrdiff_t>(logits.size().width) * padded : 0};
}

void sample_row(const Sampling& s, int y, const Scratch& scratch) {
  const int width = s.geometry.output.width;
  const LinearTap tap = locate_reads(s, y, scratch);
  Reads reads = scratch.reads;
  const int padded = s.logits.padded_classes();
  const Steps steps = steps_of(s.logits);
  const int classes = s.logits.classes();
  const float* data = s.logits.data();
  if (padded == kLanes) {
    argmax_row_16(data, steps, classes, reads, width, s.labels.row(y), scratch.best);
  } else if (padded == 2 * kLanes) {
    argmax_row_32(data, steps, classes, reads, width, s.labels.row(y), scratch.best);
  } else {
    argmax_row_any(data, steps, classes, padded / kLanes, reads, width, s.labels.row(y), scratch.best);
  }
  if (s.confidence.empty()) return;
  if (s.validity.empty()) {
    reads.validity = nullptr;
  } else {
    widen(s.validity, tap, s.flow_columns, width, scratch.blended, reads.validity);
  }
  probability_row(data, steps, classes, padded, reads, width, scratch.best);
  confidence_row(scratch.best, reads.validity, width, s.confidence.row(y));
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
      carry_row(sampling.logits.data(), steps_of(sampling.logits), sampling.logits.classes(), scratch.reads,
                size.width, static_cast<std::ptrdiff_t>(size.width) * size.height,
                out + static_cast<std::ptrdiff_t>(y) * size.width);
    }
  });
}

}  // namespace stpl_rt
