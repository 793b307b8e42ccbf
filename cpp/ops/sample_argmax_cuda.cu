// Reads that are not displaced. Where the output is at least twice as large as the logits, a thread takes the
// output pixels between the same four logits: each class is read once for all of them, and which rows and
// columns are blended is never a question inside the loop over classes. Else a thread takes one column of a
// few output rows, and what it has read and blended along x serves those that lie between the same rows of
// logits.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/cuda/launch.h"
#include "ops/bilinear.h"
#include "ops/sample_argmax_cuda.h"
#include "ops/sample_checks.h"
#include "ops/softmax.h"

namespace stpl_rt::cuda {
namespace {

constexpr int kRows = 4;

// How a row of logits follows from those that are held.
enum class Step { same, next, other };

// The rows of logits that a strip of output rows lies between.
struct StripRows {
  std::ptrdiff_t offset[kRows];  // of the upper row
  float weight[kRows];
  Step step[kRows];
  std::ptrdiff_t down;

  STPL_RT_KERNEL StripRows(const Geometry& g, int first) : down(g.logits.height > 1 ? g.logits.width : 0) {
    int held = -2;
    for (int r = 0; r < kRows; ++r) {
      const LinearTap tap = linear_tap(g.to_logits_y(g.y(static_cast<float>(first + r))), g.logits.height);
      step[r] = tap.index == held ? Step::same : tap.index == held + 1 ? Step::next : Step::other;
      offset[r] = static_cast<std::ptrdiff_t>(tap.index) * g.logits.width;
      weight[r] = tap.weight;
      held = tap.index;
    }
  }
};

// Calls use(r, value) for the strip's rows with the read of one class's plane at one column.
template <class T, class Use>
STPL_RT_KERNEL void read_strip(const T* plane, const LinearTap& column, int right, const StripRows& rows,
                               Use&& use) {
  const auto read = [&](std::ptrdiff_t row) {
    const T* at = plane + row + column.index;
    return mix(to_float(at[0]), to_float(at[right]), column.weight);
  };
  float upper = 0.F;
  float lower = 0.F;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (rows.step[r] == Step::next) upper = lower;
    if (rows.step[r] == Step::other) upper = read(rows.offset[r]);
    if (rows.step[r] != Step::same) lower = read(rows.offset[r] + rows.down);
    use(r, mix(upper, lower, rows.weight[r]));
  }
}

template <class T, bool kConfidence>
struct SampleStrips {
  PlanarLogits<T> logits;
  Geometry geometry;
  ImageView<std::uint8_t> labels;
  ImageView<std::uint8_t> confidence;

  STPL_RT_KERNEL void operator()(int x, int strip) const {
    const Geometry& g = geometry;
    const int first = strip * kRows;
    const int count = g.output.height - first < kRows ? g.output.height - first : kRows;
    const LinearTap column = linear_tap(g.to_logits_x(g.x(static_cast<float>(x))), logits.width);
    const int right = logits.width > 1 ? 1 : 0;
    const StripRows rows(g, first);
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(logits.width) * logits.height;
    float best[kRows] = {};
    int label[kRows] = {};
    read_strip(logits.data, column, right, rows, [&](int r, float value) { best[r] = value; });
    for (int c = 1; c < logits.classes; ++c) {
      read_strip(logits.data + c * area, column, right, rows, [&](int r, float value) {
        label[r] = value > best[r] ? c : label[r];
        best[r] = value > best[r] ? value : best[r];
      });
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r < count) labels.row(first + r)[x] = static_cast<std::uint8_t>(label[r]);
    }
    if constexpr (kConfidence) {
      float sum[kRows] = {};
      for (int c = 0; c < logits.classes; ++c) {
        read_strip(logits.data + c * area, column, right, rows,
                   [&](int r, float value) { sum[r] += exp_nonpositive(value - best[r]); });
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (r >= count) continue;
        confidence.row(first + r)[x] = static_cast<std::uint8_t>(confidence_byte(reciprocal(sum[r]), 1.F));
      }
    }
  }
};

struct ExactMap {
  double scale, offset;
};

// Output pixel → logits.
ExactMap composed(const AxisMap& to_input, const AxisMap& to_logits) {
  return {static_cast<double>(to_input.scale) * to_logits.scale,
          static_cast<double>(to_logits.scale) * to_input.offset + to_logits.offset};
}

// One axis of an output that is larger than the logits, cut into parts that lie between the same two logits.
struct PartedAxis {
  AxisMap to_input, to_logits;
  TapRange logits;
  float length;   // of a part, in logits
  int from;       // where the first part begins, in parts
  float end;      // between the last output pixel and where the next one would be, in logits
  AxisMap begin;  // part → about its first output pixel
  int parts;

  // `most`: output pixels that a part should hold. Where it is one more now and then (as of a ratio of 4.01),
  // that is better than to halve all parts.
  PartedAxis(const AxisMap& to_input, const AxisMap& to_logits, int outputs, int logits, int most);

  STPL_RT_KERNEL float position(int i) const { return to_logits(to_input(static_cast<float>(i))); }
  // Every output pixel is in one part, as neighbours compare with the same number: what is rounded only moves
  // a pixel that lies on a logit to the other side of it.
  STPL_RT_KERNEL float bound(int part) const { return static_cast<float>(from + part) * length; }
  STPL_RT_KERNEL int first(int part) const {
    int i = static_cast<int>(begin(static_cast<float>(part)));
    i -= position(i - 1) >= bound(part) ? 1 : 0;
    i += position(i) < bound(part) ? 1 : 0;
    return i > 0 ? i : 0;
  }
  // The middle of a part is between its logits, also where what is rounded has moved its ends.
  STPL_RT_KERNEL int logit(int part) const {
    return linear_tap((static_cast<float>(from + part) + 0.5F) * length, logits).index;
  }
  STPL_RT_KERNEL float end_of(int part) const {
    const float next = bound(part + 1);
    return next < end ? next : end;
  }
};

PartedAxis::PartedAxis(const AxisMap& to_input, const AxisMap& to_logits, int outputs, int logits, int most)
    : to_input(to_input), to_logits(to_logits), logits(logits) {
  const auto [scale, offset] = composed(to_input, to_logits);
  const int per_logit = std::max(1, static_cast<int>(std::ceil(1 / (scale * most) - 0.02)));
  const double exact_length = 1.0 / per_logit;
  const double exact_end = (outputs - 0.5) * scale + offset;
  length = static_cast<float>(exact_length);
  from = static_cast<int>(std::floor(offset * per_logit - 0.2));  // rounded, pixel 0 may lie before `offset`
  end = static_cast<float>(exact_end);
  begin = {static_cast<float>(exact_length / scale),
           static_cast<float>((from * exact_length - offset) / scale + 1)};
  parts = static_cast<int>(std::ceil(exact_end * per_logit)) - from;
}

// Whether an axis is worth it, and its positions are exact enough: PartedAxis::first() may be wrong by one.
bool can_be_parted(const AxisMap& to_input, const AxisMap& to_logits, int outputs, int logits) {
  const auto [scale, offset] = composed(to_input, to_logits);
  return logits > 1 && scale > 0 && scale <= 0.51 && outputs + std::abs(offset) / scale < (1 << 20);
}

// Some output pixels of a part: the logits they lie between, and where.
template <int kCount>
struct PartTaps {
  int first, count, index;
  float weight[kCount];

  STPL_RT_KERNEL PartTaps(const PartedAxis& axis, int first, float end, int index)
      : first(first), count(0), index(index) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float position = axis.position(first + i);
      weight[i] = clamp_coordinate(position, 0.F, axis.logits.last) - static_cast<float>(index);
      count += position < end ? 1 : 0;
    }
  }
};

// A thread takes one part of both axes. Tiles of 2 x 4 pixels keep to 64 registers, so that an H100 has 32
// warps to choose from; those of 4 x 4 save a tenth of the instructions and leave 16 warps.
template <class T, int kColumns, int kTileRows, bool kConfidence>
struct SampleCells {
  using Columns = PartTaps<kColumns>;
  using Rows = PartTaps<kTileRows>;
  static constexpr int kPixels = kColumns * kTileRows;

  PlanarLogits<T> logits;
  PartedAxis x_axis, y_axis;
  ImageView<std::uint8_t> labels;
  ImageView<std::uint8_t> confidence;

  STPL_RT_KERNEL void operator()(int x_part, int y_part) const {
    const float x_end = x_axis.end_of(x_part);
    const float y_end = y_axis.end_of(y_part);
    const int column = x_axis.logit(x_part);
    const int row = y_axis.logit(y_part);
    // Mostly one tile.
    for (int y = y_axis.first(y_part); y_axis.position(y) < y_end; y += kTileRows) {
      const Rows rows(y_axis, y, y_end, row);
      for (int x = x_axis.first(x_part); x_axis.position(x) < x_end; x += kColumns) {
        sample(Columns(x_axis, x, x_end, column), rows);
      }
    }
  }

  // Calls use(i, value) for the tile's pixels with the read of one class. `at`: its upper left logit.
  template <class Use>
  STPL_RT_KERNEL void read(const T* at, const Columns& columns, const Rows& rows, Use&& use) const {
    const T* below = at + logits.width;
    const float upper_left = to_float(at[0]), upper_right = to_float(at[1]);
    const float lower_left = to_float(below[0]), lower_right = to_float(below[1]);
#pragma unroll
    for (int x = 0; x < kColumns; ++x) {
      const float upper = mix(upper_left, upper_right, columns.weight[x]);
      const float lower = mix(lower_left, lower_right, columns.weight[x]);
#pragma unroll
      for (int y = 0; y < kTileRows; ++y) use(y * kColumns + x, mix(upper, lower, rows.weight[y]));
    }
  }

  STPL_RT_KERNEL void sample(const Columns& columns, const Rows& rows) const {
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(logits.width) * logits.height;
    const T* const first =
        logits.data + static_cast<std::ptrdiff_t>(rows.index) * logits.width + columns.index;
    float best[kPixels];
    int label[kPixels] = {};
    read(first, columns, rows, [&](int i, float value) { best[i] = value; });
    const T* at = first;
    for (int c = 1; c < logits.classes; ++c) {
      at += area;
      read(at, columns, rows, [&](int i, float value) {
        label[i] = value > best[i] ? c : label[i];
        best[i] = value > best[i] ? value : best[i];
      });
    }
    store(labels, columns, rows, [&](int i) { return label[i]; });
    if constexpr (kConfidence) {
      float sum[kPixels] = {};
      at = first;
      for (int c = 0; c < logits.classes; ++c, at += area) {
        read(at, columns, rows, [&](int i, float value) { sum[i] += exp_nonpositive(value - best[i]); });
      }
      store(confidence, columns, rows, [&](int i) { return confidence_byte(reciprocal(sum[i]), 1.F); });
    }
  }

  template <class Value>
  STPL_RT_KERNEL static void store(const ImageView<std::uint8_t>& out, const Columns& columns,
                                   const Rows& rows, Value&& value) {
    std::uint8_t* row = out.row(rows.first) + columns.first;
#pragma unroll
    for (int y = 0; y < kTileRows; ++y, row += out.stride) {
#pragma unroll
      for (int x = 0; x < kColumns; ++x) {
        if (y < rows.count && x < columns.count) row[x] = static_cast<std::uint8_t>(value(y * kColumns + x));
      }
    }
  }
};

template <class T, int kColumns, int kTileRows>
void sample_cells(const PlanarLogits<T>& logits, const Geometry& g, ImageView<std::uint8_t> labels,
                  ImageView<std::uint8_t> confidence, StreamHandle stream) {
  const PartedAxis x(g.x, g.to_logits_x, g.output.width, logits.width, kColumns);
  const PartedAxis y(g.y, g.to_logits_y, g.output.height, logits.height, kTileRows);
  const Size parts = {x.parts, y.parts};
  if (confidence.empty()) {
    for_each_pixel(SampleCells<T, kColumns, kTileRows, false>{logits, x, y, labels, confidence}, parts,
                   stream);
  } else {
    for_each_pixel(SampleCells<T, kColumns, kTileRows, true>{logits, x, y, labels, confidence}, parts,
                   stream);
  }
}

template <class T>
void sample_strips(const PlanarLogits<T>& logits, const Geometry& geometry, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, StreamHandle stream) {
  const Size strips = {geometry.output.width, (geometry.output.height + kRows - 1) / kRows};
  if (confidence.empty()) {
    for_each_pixel(SampleStrips<T, false>{logits, geometry, labels, confidence}, strips, stream);
  } else {
    for_each_pixel(SampleStrips<T, true>{logits, geometry, labels, confidence}, strips, stream);
  }
}

}  // namespace

template <class T>
void sample_argmax(const PlanarLogits<T>& logits, const Geometry& g, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, StreamHandle stream) {
  check_logits(logits.data, logits.classes, {logits.width, logits.height});
  check_sampling(g, {logits.width, logits.height}, labels, confidence);
  const bool parted_x = can_be_parted(g.x, g.to_logits_x, g.output.width, logits.width);
  const bool parted_y = can_be_parted(g.y, g.to_logits_y, g.output.height, logits.height);
  if (!parted_x || !parted_y) {
    sample_strips(logits, g, labels, confidence, stream);
  } else if (g.y.scale * g.to_logits_y.scale > 0.34F) {  // two or three rows between two rows of logits
    sample_cells<T, 2, 2>(logits, g, labels, confidence, stream);
  } else {
    sample_cells<T, 2, 4>(logits, g, labels, confidence, stream);
  }
}

template void sample_argmax(const PlanarLogits<float>&, const Geometry&, ImageView<std::uint8_t>,
                            ImageView<std::uint8_t>, StreamHandle);
template void sample_argmax(const PlanarLogits<Half>&, const Geometry&, ImageView<std::uint8_t>,
                            ImageView<std::uint8_t>, StreamHandle);

}  // namespace stpl_rt::cuda
