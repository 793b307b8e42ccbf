#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "core/simd.h"
#include "ops/sample_argmax.h"
#include "ops/sample_checks.h"

namespace stpl_rt {
namespace {

constexpr int kLanes = 16;  // the widest vector: one AVX-512 register of float32

constexpr int in_sixteens(int classes) { return (classes + kLanes - 1) / kLanes * kLanes; }

// One row: (classes, width) with planes `plane` apart → (width, padded).
STPL_RT_MULTIVERSION
void pack_row(const float* row, std::ptrdiff_t plane, int classes, int width, int padded, float* out) {
  for (int x = 0; x < width; ++x) {
    float* pixel = out + static_cast<std::ptrdiff_t>(x) * padded;
    for (int c = 0; c < classes; ++c) pixel[c] = row[c * plane + x];
    for (int c = classes; c < padded; ++c) pixel[c] = row[x];
  }
}

constexpr int kBlock = 64;  // pixels whose best class is kept at a time

// The lowest class of the largest logit of each pixel of a row; planes `plane` apart.
STPL_RT_MULTIVERSION
void label_row(const float* row, std::ptrdiff_t plane, int classes, int width, std::uint8_t* labels) {
  for (int first = 0; first < width; first += kBlock) {
    const int count = std::min(kBlock, width - first);
    float best[kBlock];
    int label[kBlock];
    std::copy_n(row + first, count, best);
    std::fill_n(label, count, 0);
    for (int c = 1; c < classes; ++c) {
      const float* value = row + c * plane + first;
#pragma omp simd
      for (int i = 0; i < count; ++i) {
        const int candidate = value[i] > best[i] ? c : 0;  // classes only go up: the maximum selects
        label[i] = candidate > label[i] ? candidate : label[i];
        best[i] = value[i] > best[i] ? value[i] : best[i];
      }
    }
    for (int i = 0; i < count; ++i) labels[first + i] = static_cast<std::uint8_t>(label[i]);
  }
}

// The cells between two rows of labels.
STPL_RT_MULTIVERSION
void cell_row(const std::uint8_t* upper, const std::uint8_t* lower, int width, std::uint8_t* cells) {
#pragma omp simd
  for (int x = 0; x < width - 1; ++x) {
    const int here = upper[x];
    const bool same = (here == upper[x + 1]) & (here == lower[x]) & (here == lower[x + 1]);
    cells[x] = static_cast<std::uint8_t>(same ? here : PackedLogits::kUndecided);
  }
  cells[width - 1] = upper[width - 1] == lower[width - 1] ? upper[width - 1] : PackedLogits::kUndecided;
}

}  // namespace

void PackedLogits::check_size(int classes, Size size) {
  const std::int64_t count = std::int64_t{in_sixteens(classes)} * size.width * size.height;
  if (count <= std::numeric_limits<int>::max()) return;  // the kernel keeps offsets in 32 bits
  throw Error(ErrorCode::invalid_argument,
              "logits that are carried: expected at most 2^31 - 1 values of classes in sixteens, found " +
                  std::to_string(count));
}

void PackedLogits::assign(const LogitsView& logits, ThreadPool& pool) {
  check_logits(logits);
  const int padded = in_sixteens(logits.classes);
  const std::int64_t count = std::int64_t{padded} * logits.width * logits.height;
  check_size(logits.classes, {logits.width, logits.height});
  buffer_.reserve(static_cast<std::size_t>(count));
  classes_ = logits.classes;
  padded_ = padded;
  size_ = {logits.width, logits.height};
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(logits.width) * logits.height;
  pool.parallel_for(logits.height, 8, [&](int begin, int end) {
    for (int y = begin; y < end; ++y) {
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(y) * logits.width;
      pack_row(logits.data + row, plane, classes_, logits.width, padded_, buffer_.data() + row * padded_);
    }
  });
  decide_cells(logits, pool);
}

void unpack_logits(const PackedLogits& logits, float* out) {
  const std::size_t pixels =
      static_cast<std::size_t>(logits.size().width) * static_cast<std::size_t>(logits.size().height);
  const auto padded = static_cast<std::size_t>(logits.padded_classes());
  for (int c = 0; c < logits.classes(); ++c) {
    const float* value = logits.data() + c;
    for (std::size_t i = 0; i < pixels; ++i, value += padded) *out++ = *value;
  }
}

void PackedLogits::decide_cells(const LogitsView& logits, ThreadPool& pool) {
  const std::ptrdiff_t width = logits.width;
  const std::ptrdiff_t plane = width * logits.height;
  cells_.reserve(static_cast<std::size_t>(plane));
  labels_.reserve(static_cast<std::size_t>(plane));
  pool.parallel_for(logits.height, 8, [&](int begin, int end) {
    for (int y = begin; y < end; ++y) {
      label_row(logits.data + y * width, plane, logits.classes, logits.width, labels_.data() + y * width);
    }
  });
  pool.parallel_for(logits.height, 32, [&](int begin, int end) {
    for (int y = begin; y < end; ++y) {
      const std::uint8_t* upper = labels_.data() + y * width;
      cell_row(upper, y + 1 < logits.height ? upper + width : upper, logits.width, cells_.data() + y * width);
    }
  });
}

}  // namespace stpl_rt
