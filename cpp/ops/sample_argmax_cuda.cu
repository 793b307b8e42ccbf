// Reads that are not displaced: a thread takes one column of a few output rows, which lie between the same
// rows of logits for the most part, so that what is read and blended along x serves all of them.
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
        confidence.row(first + r)[x] = static_cast<std::uint8_t>(confidence_byte(1.F / sum[r], 1.F));
      }
    }
  }
};

}  // namespace

template <class T>
void sample_argmax(const PlanarLogits<T>& logits, const Geometry& geometry, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, StreamHandle stream) {
  check_logits(logits.data, logits.classes, {logits.width, logits.height});
  check_sampling(geometry, {logits.width, logits.height}, labels, confidence);
  const Size strips = {geometry.output.width, (geometry.output.height + kRows - 1) / kRows};
  if (confidence.empty()) {
    for_each_pixel(SampleStrips<T, false>{logits, geometry, labels, confidence}, strips, stream);
  } else {
    for_each_pixel(SampleStrips<T, true>{logits, geometry, labels, confidence}, strips, stream);
  }
}

template void sample_argmax(const PlanarLogits<float>&, const Geometry&, ImageView<std::uint8_t>,
                            ImageView<std::uint8_t>, StreamHandle);
template void sample_argmax(const PlanarLogits<Half>&, const Geometry&, ImageView<std::uint8_t>,
                            ImageView<std::uint8_t>, StreamHandle);

}  // namespace stpl_rt::cuda
