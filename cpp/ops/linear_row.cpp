#include "ops/linear_row.h"

#include <algorithm>

#include "core/simd.h"
#include "ops/bilinear.h"

#if defined(__GNUC__) && !defined(__clang__)
#define STPL_RT_HAS_SHUFFLE 1
#else
#define STPL_RT_HAS_SHUFFLE 0
#endif

namespace stpl_rt {
namespace {

#if STPL_RT_HAS_SHUFFLE
// Unaligned vectors of 8: what one AVX2 permutation reaches.
typedef float Float8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int Int8 __attribute__((vector_size(32), aligned(4), may_alias));

STPL_RT_MULTIVERSION
void expand_by_shuffles(const float* row, const int* base, const int* index, const float* weight, int blocks,
                        float* out) {
  for (int i = 0; i < blocks; ++i) {
    const Float8 elements = *reinterpret_cast<const Float8*>(row + base[i]);
    const Int8 left = *reinterpret_cast<const Int8*>(index + 8 * i);
    const Float8 w = *reinterpret_cast<const Float8*>(weight + 8 * i);
    const Float8 a = __builtin_shuffle(elements, left);
    const Float8 b = __builtin_shuffle(elements, left + 1);
    *reinterpret_cast<Float8*>(out + 8 * i) = a * (1.F - w) + b * w;
  }
}
#endif

STPL_RT_MULTIVERSION
void expand_by_gathers(const float* row, const int* index, const float* weight, int step, int n, float* out) {
#pragma omp simd
  for (int x = 0; x < n; ++x) out[x] = mix(row[index[x]], row[index[x] + step], weight[x]);
}

bool same(AxisMap a, AxisMap b) { return a.scale == b.scale && a.offset == b.offset; }

}  // namespace

void RowTaps::build(AxisMap inner, AxisMap outer, int n_out, int n_in) {
  if (same(inner, inner_) && same(outer, outer_) && n_out == n_out_ && n_in == n_in_) return;
  n_out_ = 0;  // not valid until all is done
  const int blocks = (n_out + kBlock - 1) / kBlock;
  index_.reserve(static_cast<std::size_t>(blocks) * kBlock);
  weight_.reserve(static_cast<std::size_t>(blocks) * kBlock);
  base_.reserve(static_cast<std::size_t>(blocks));
  int* index = index_.data();
  shuffles_ = STPL_RT_HAS_SHUFFLE != 0 && n_in >= kBlock;
  for (int x = 0; x < blocks * kBlock; ++x) {
    const LinearTap tap = linear_tap(outer(inner(static_cast<float>(std::min(x, n_out - 1)))), n_in);
    index[x] = tap.index;
    weight_.data()[x] = tap.weight;
  }
  for (int i = 0; i < blocks; ++i) {
    const auto [low, high] = std::minmax_element(index + i * kBlock, index + (i + 1) * kBlock);
    base_.data()[i] = std::min(*low, n_in - kBlock);
    shuffles_ = shuffles_ && *high + 1 - base_.data()[i] < kBlock;
  }
  if (shuffles_) {
    for (int x = 0; x < blocks * kBlock; ++x) index[x] -= base_.data()[x / kBlock];
  }
  inner_ = inner;
  outer_ = outer;
  n_in_ = n_in;
  n_out_ = n_out;
}

void RowTaps::expand(const float* row, int begin, int end, float* out) const {
  const int blocks = (end - begin + kBlock - 1) / kBlock;
#if STPL_RT_HAS_SHUFFLE
  if (shuffles_) {
    expand_by_shuffles(row, base_.data() + begin / kBlock, index_.data() + begin, weight_.data() + begin,
                       blocks, out);
    return;
  }
#endif
  expand_by_gathers(row, index_.data() + begin, weight_.data() + begin, n_in_ > 1 ? 1 : 0, blocks * kBlock,
                    out);
}

STPL_RT_MULTIVERSION
void mix_rows(const float* a, const float* b, float weight, int n, float* out) {
#pragma omp simd
  for (int i = 0; i < n; ++i) out[i] = mix(a[i], b[i], weight);
}

}  // namespace stpl_rt
