#include <cstdint>
#include <limits>
#include <string>

#include "core/simd.h"
#include "ops/sample_argmax.h"
#include "ops/sample_checks.h"

namespace stpl_rt {
namespace {

constexpr int kLanes = 16;  // the widest vector: one AVX-512 register of float32

// One row: (classes, width) with planes `plane` apart → (width, padded).
STPL_RT_MULTIVERSION
void pack_row(const float* row, std::ptrdiff_t plane, int classes, int width, int padded, float* out) {
  for (int x = 0; x < width; ++x) {
    float* pixel = out + static_cast<std::ptrdiff_t>(x) * padded;
    for (int c = 0; c < classes; ++c) pixel[c] = row[c * plane + x];
    for (int c = classes; c < padded; ++c) pixel[c] = row[x];
  }
}

}  // namespace

void PackedLogits::assign(const LogitsView& logits, ThreadPool& pool) {
  check_logits(logits);
  const int padded = (logits.classes + kLanes - 1) / kLanes * kLanes;
  const std::int64_t count = std::int64_t{padded} * logits.width * logits.height;
  if (count > std::numeric_limits<int>::max()) {  // the kernel keeps offsets in 32 bits
    throw Error(ErrorCode::invalid_argument,
                "PackedLogits: expected at most 2^31 - 1 values, found " + std::to_string(count));
  }
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
}

}  // namespace stpl_rt
