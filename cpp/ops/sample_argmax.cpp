// Reads that are not displaced: rows of logits are widened once and blended vertically as often as needed.
#include "ops/sample_argmax.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "ops/bilinear.h"
#include "ops/linear_row.h"
#include "ops/sample_checks.h"
#include "ops/softmax.h"

namespace stpl_rt {
namespace {

constexpr int kBlock = 64;  // pixels whose best class is kept at a time
// Two widened rows of all classes should stay in a first-level cache of 48 KiB.
constexpr int kTileBytes = 40 * 1024;

// Blends the classes of two widened rows (class stride `stride`) and takes the best of each pixel.
STPL_RT_MULTIVERSION
void argmax_block(const float* top, const float* bottom, std::ptrdiff_t stride, int classes, float weight,
                  std::uint8_t* labels, float* best_out) {
  alignas(64) float best[kBlock];
  alignas(64) int label[kBlock];
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    best[i] = mix(top[i], bottom[i], weight);
    label[i] = 0;
  }
  for (int c = 1; c < classes; ++c) {
    const float* a = top + c * stride;
    const float* b = bottom + c * stride;
#pragma omp simd
    for (int i = 0; i < kBlock; ++i) {
      const float value = mix(a[i], b[i], weight);
      // Classes only go up, so the maximum selects; a selection between c and what is stored would be
      // compiled to a branch around a masked store.
      const int candidate = value > best[i] ? c : 0;
      label[i] = candidate > label[i] ? candidate : label[i];
      best[i] = value > best[i] ? value : best[i];
    }
  }
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    labels[i] = static_cast<std::uint8_t>(label[i]);
    best_out[i] = best[i];
  }
}

STPL_RT_MULTIVERSION
void confidence_block(const float* top, const float* bottom, std::ptrdiff_t stride, int classes, float weight,
                      const float* best, std::uint8_t* confidence) {
  alignas(64) float sum[kBlock] = {};
  for (int c = 0; c < classes; ++c) {
    const float* a = top + c * stride;
    const float* b = bottom + c * stride;
#pragma omp simd
    for (int i = 0; i < kBlock; ++i) sum[i] += exp_nonpositive(mix(a[i], b[i], weight) - best[i]);
  }
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    confidence[i] = static_cast<std::uint8_t>(confidence_byte(1.F / sum[i], 1.F));
  }
}

struct Sampling {
  LogitsView logits;
  const Geometry& geometry;
  const RowTaps& columns;
  ImageView<std::uint8_t> labels;
  ImageView<std::uint8_t> confidence;
  int tile;  // columns worked on at a time, a multiple of kBlock
};

// The two widened rows between which an output row lies, for one tile of columns.
class WidenedRows {
 public:
  WidenedRows(const Sampling& s, int begin, int end) : s_(s), begin_(begin), end_(end) {
    static thread_local AlignedBuffer<float> buffer;
    const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(s.tile) * s.logits.classes;
    buffer.reserve(static_cast<std::size_t>(2 * size));
    rows_[0] = buffer.data();
    rows_[1] = buffer.data() + size;
  }

  // After this, top() is row `index` and bottom() the one below (or the same, if it is the only one).
  void move_to(int index) {
    if (held_[1] == index) {
      std::swap(rows_[0], rows_[1]);
      std::swap(held_[0], held_[1]);
    }
    hold(0, index);
    hold(1, std::min(index + 1, s_.logits.height - 1));
  }
  [[nodiscard]] const float* top() const { return rows_[0]; }
  [[nodiscard]] const float* bottom() const { return rows_[1]; }

 private:
  void hold(int slot, int index) {
    if (held_[slot] == index) return;
    const std::ptrdiff_t width = s_.logits.width;
    for (int c = 0; c < s_.logits.classes; ++c) {
      const float* row = s_.logits.data + (static_cast<std::ptrdiff_t>(c) * s_.logits.height + index) * width;
      s_.columns.expand(row, begin_, end_, rows_[slot] + static_cast<std::ptrdiff_t>(c) * s_.tile);
    }
    held_[slot] = index;
  }

  const Sampling& s_;
  int begin_;
  int end_;
  float* rows_[2];
  int held_[2] = {-1, -1};
};

void sample_tile(const Sampling& s, int x_begin, int x_end, int y_begin, int y_end) {
  const Geometry& g = s.geometry;
  WidenedRows rows(s, x_begin, x_end);
  alignas(64) std::uint8_t bytes[kBlock];
  alignas(64) float best[kBlock];
  for (int y = y_begin; y < y_end; ++y) {
    const LinearTap tap = linear_tap(g.to_logits_y(g.y(static_cast<float>(y))), g.logits.height);
    rows.move_to(tap.index);
    for (int x = x_begin; x < x_end; x += kBlock) {
      const float* top = rows.top() + (x - x_begin);
      const float* bottom = rows.bottom() + (x - x_begin);
      const auto count = static_cast<std::size_t>(std::min(kBlock, x_end - x));
      argmax_block(top, bottom, s.tile, s.logits.classes, tap.weight, bytes, best);
      std::memcpy(s.labels.row(y) + x, bytes, count);
      if (s.confidence.empty()) continue;
      confidence_block(top, bottom, s.tile, s.logits.classes, tap.weight, best, bytes);
      std::memcpy(s.confidence.row(y) + x, bytes, count);
    }
  }
}

}  // namespace

void sample_argmax(const LogitsView& logits, const Geometry& geometry, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, ThreadPool& pool) {
  check_logits(logits);
  check_sampling(geometry, {logits.width, logits.height}, labels, confidence);

  static thread_local RowTaps columns;
  const int width = geometry.output.width;
  columns.build(geometry.x, geometry.to_logits_x, width, logits.width);
  const int fitting = kTileBytes / (2 * static_cast<int>(sizeof(float)) * logits.classes) / kBlock * kBlock;
  const int whole = (width + kBlock - 1) / kBlock * kBlock;
  // Where not even the narrowest tile fits, long reads of each class's row are worth more than any cache.
  const int tile = fitting < kBlock ? whole : std::min(fitting, whole);
  const Sampling sampling{logits, geometry, columns, labels, confidence, tile};
  pool.parallel_for(geometry.output.height, 8, [&](int begin, int end) {
    for (int x = 0; x < width; x += tile) sample_tile(sampling, x, std::min(x + tile, width), begin, end);
  });
}

}  // namespace stpl_rt
