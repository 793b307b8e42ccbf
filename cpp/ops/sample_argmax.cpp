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
// Two widened rows of a group of classes should stay in a first-level cache of 48 KiB.
constexpr int kTileBytes = 40 * 1024;
constexpr int kWidenedPixel = 2 * static_cast<int>(sizeof(float));
// Classes that are worked on together: of more, the narrowest tile would not fit.
constexpr int kMostTogether = kTileBytes / (kWidenedPixel * kBlock);
// Of more classes, groups of so many, whose tiles are wide enough for long reads; their best are kept for a
// band of rows, which the next group goes over again.
constexpr int kGroup = 32;
constexpr int kBand = 32;

// Blends classes of two widened rows (class stride `stride`) and takes the best of each pixel: among `count`
// classes from `first` on and, where that is not 0, what `labels` and `best` hold of those before.
STPL_RT_MULTIVERSION
void argmax_block(const float* top, const float* bottom, std::ptrdiff_t stride, int first, int count,
                  float weight, std::uint8_t* labels, float* best_of_all) {
  alignas(64) float best[kBlock];
  alignas(64) int label[kBlock];
  if (first == 0) {
#pragma omp simd
    for (int i = 0; i < kBlock; ++i) {
      best[i] = mix(top[i], bottom[i], weight);
      label[i] = 0;
    }
  } else {
#pragma omp simd
    for (int i = 0; i < kBlock; ++i) {
      best[i] = best_of_all[i];
      label[i] = labels[i];
    }
  }
  for (int c = first == 0 ? 1 : 0; c < count; ++c) {
    const float* a = top + c * stride;
    const float* b = bottom + c * stride;
    const int here = first + c;
#pragma omp simd
    for (int i = 0; i < kBlock; ++i) {
      const float value = mix(a[i], b[i], weight);
      // Classes only go up, so the maximum selects; a selection between the class and what is stored would be
      // compiled to a branch around a masked store.
      const int candidate = value > best[i] ? here : 0;
      label[i] = candidate > label[i] ? candidate : label[i];
      best[i] = value > best[i] ? value : best[i];
    }
  }
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    labels[i] = static_cast<std::uint8_t>(label[i]);
    best_of_all[i] = best[i];
  }
}

// Adds to `sum` what the softmax's denominator has of `count` classes.
STPL_RT_MULTIVERSION
void add_exponentials(const float* top, const float* bottom, std::ptrdiff_t stride, int count, float weight,
                      const float* best, float* sum_of_all) {
  alignas(64) float sum[kBlock];
  std::copy_n(sum_of_all, kBlock, sum);
  for (int c = 0; c < count; ++c) {
    const float* a = top + c * stride;
    const float* b = bottom + c * stride;
#pragma omp simd
    for (int i = 0; i < kBlock; ++i) sum[i] += exp_nonpositive(mix(a[i], b[i], weight) - best[i]);
  }
  std::copy_n(sum, kBlock, sum_of_all);
}

STPL_RT_MULTIVERSION
void confidence_block(const float* sum, std::uint8_t* confidence) {
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
  int group;  // classes worked on at a time
  int tile;   // columns worked on at a time, a multiple of kBlock

  [[nodiscard]] bool in_one_group() const { return group == logits.classes; }
};

struct Tile {
  int x_begin, x_end, y_begin, y_end;
};

// The two widened rows between which an output row lies, for one tile of columns and one group of classes.
class WidenedRows {
 public:
  WidenedRows(const Sampling& s, const Tile& tile, int first, int count)
      : s_(s), begin_(tile.x_begin), end_(tile.x_end), first_(first), count_(count) {
    static thread_local AlignedBuffer<float> buffer;
    const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(s.tile) * s.group;
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
    for (int c = 0; c < count_; ++c) {
      const float* row =
          s_.logits.data + (static_cast<std::ptrdiff_t>(first_ + c) * s_.logits.height + index) * width;
      s_.columns.expand(row, begin_, end_, rows_[slot] + static_cast<std::ptrdiff_t>(c) * s_.tile);
    }
    held_[slot] = index;
  }

  const Sampling& s_;
  int begin_, end_;
  int first_, count_;
  float* rows_[2];
  int held_[2] = {-1, -1};
};

// What is known of a tile's pixels after some of the groups: of a band of rows, or, where all classes are one
// group, of the row in hand.
class Known {
 public:
  Known(const Sampling& s, const Tile& tile)
      : stride_(s.tile), first_row_(tile.y_begin), rows_(s.in_one_group() ? 1 : kBand) {
    const std::size_t size = static_cast<std::size_t>(stride_) * static_cast<std::size_t>(rows_);
    best_.reserve(size);
    labels_.reserve(size);
    if (!s.confidence.empty()) sums_.reserve(size);
  }

  [[nodiscard]] float* best(int y) const { return best_.data() + offset(y); }
  [[nodiscard]] float* sum(int y) const { return sums_.data() + offset(y); }
  [[nodiscard]] std::uint8_t* labels(int y) const { return labels_.data() + offset(y); }

 private:
  [[nodiscard]] std::ptrdiff_t offset(int y) const {
    return rows_ == 1 ? 0 : static_cast<std::ptrdiff_t>(y - first_row_) * stride_;
  }

  static thread_local AlignedBuffer<float> best_;
  static thread_local AlignedBuffer<float> sums_;
  static thread_local AlignedBuffer<std::uint8_t> labels_;
  int stride_;
  int first_row_;
  int rows_;
};

thread_local AlignedBuffer<float> Known::best_;
thread_local AlignedBuffer<float> Known::sums_;
thread_local AlignedBuffer<std::uint8_t> Known::labels_;

// Calls `use` with every row of a tile and the widened rows that it lies between, for one group of classes.
template <class Use>
void for_each_row(const Sampling& s, const Tile& tile, int first, int count, Use&& use) {
  WidenedRows rows(s, tile, first, count);
  for (int y = tile.y_begin; y < tile.y_end; ++y) {
    const LinearTap tap =
        linear_tap(s.geometry.to_logits_y(s.geometry.y(static_cast<float>(y))), s.logits.height);
    rows.move_to(tap.index);
    use(y, rows, tap.weight);
  }
}

void add_to_sums(const Sampling& s, const Tile& tile, const Known& known, int y, const WidenedRows& rows,
                 float weight, int first, int count) {
  const int width = tile.x_end - tile.x_begin;
  float* const sum = known.sum(y);
  if (first == 0) std::fill_n(sum, s.tile, 0.F);
  for (int x = 0; x < width; x += kBlock) {
    add_exponentials(rows.top() + x, rows.bottom() + x, s.tile, count, weight, known.best(y) + x, sum + x);
  }
  if (first + count < s.logits.classes) return;
  alignas(64) std::uint8_t bytes[kBlock];
  for (int x = 0; x < width; x += kBlock) {
    confidence_block(sum + x, bytes);
    std::memcpy(s.confidence.row(y) + tile.x_begin + x, bytes,
                static_cast<std::size_t>(std::min(kBlock, width - x)));
  }
}

void sample_tile(const Sampling& s, const Tile& tile) {
  const Known known(s, tile);
  const int width = tile.x_end - tile.x_begin;
  const int classes = s.logits.classes;
  const bool confident = !s.confidence.empty();
  for (int first = 0; first < classes; first += s.group) {
    const int count = std::min(s.group, classes - first);
    for_each_row(s, tile, first, count, [&](int y, const WidenedRows& rows, float weight) {
      std::uint8_t* const labels = known.labels(y);
      for (int x = 0; x < width; x += kBlock) {
        argmax_block(rows.top() + x, rows.bottom() + x, s.tile, first, count, weight, labels + x,
                     known.best(y) + x);
      }
      if (first + count < classes) return;
      std::memcpy(s.labels.row(y) + tile.x_begin, labels, static_cast<std::size_t>(width));
      if (confident && s.in_one_group()) add_to_sums(s, tile, known, y, rows, weight, first, count);
    });
  }
  if (!confident || s.in_one_group()) return;
  for (int first = 0; first < classes; first += s.group) {  // once more: now the largest of all is known
    const int count = std::min(s.group, classes - first);
    for_each_row(s, tile, first, count, [&](int y, const WidenedRows& rows, float weight) {
      add_to_sums(s, tile, known, y, rows, weight, first, count);
    });
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
  const int group = logits.classes <= kMostTogether ? logits.classes : kGroup;
  const int fitting = kTileBytes / (kWidenedPixel * group) / kBlock * kBlock;
  const int tile = std::min(fitting, (width + kBlock - 1) / kBlock * kBlock);
  const Sampling sampling{logits, geometry, columns, labels, confidence, group, tile};
  const int band = sampling.in_one_group() ? geometry.output.height : kBand;
  pool.parallel_for(geometry.output.height, 8, [&](int begin, int end) {
    for (int y = begin; y < end; y += band) {
      for (int x = 0; x < width; x += tile) {
        sample_tile(sampling, {x, std::min(x + tile, width), y, std::min(y + band, end)});
      }
    }
  });
}

}  // namespace stpl_rt
