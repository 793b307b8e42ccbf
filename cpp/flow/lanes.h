// Eight floats at a time, in the compiler's vector extension: lowered to whatever the target has.
#pragma once

#include "core/simd.h"

namespace stpl_rt {

constexpr int kLanes = 8;
using Float8 = float __attribute__((vector_size(32)));
using Float4 = float __attribute__((vector_size(16)));
using Int4 = int __attribute__((vector_size(16)));

// By reference throughout: passing such vectors by value has no fixed ABI.
STPL_RT_INLINE void load(const float* from, Float8& out) { __builtin_memcpy(&out, from, sizeof(out)); }
STPL_RT_INLINE void store(const Float8& value, float* to) { __builtin_memcpy(to, &value, sizeof(value)); }

STPL_RT_INLINE void fold(const Float8& value, Float4& out) {
  Float4 halves[2];
  __builtin_memcpy(halves, &value, sizeof(value));
  out = halves[0] + halves[1];
}

#if __has_builtin(__builtin_shufflevector)
#define STPL_RT_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define STPL_RT_SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, Int4{i, j, k, l})
#endif

// out = the four sums over the lanes of a, b, c, d.
STPL_RT_INLINE void sum_lanes(const Float8& a, const Float8& b, const Float8& c, const Float8& d,
                              float* out) {
  Float4 fa, fb, fc, fd;
  fold(a, fa);
  fold(b, fb);
  fold(c, fc);
  fold(d, fd);
  const Float4 ab = STPL_RT_SHUFFLE(fa, fb, 0, 1, 4, 5) + STPL_RT_SHUFFLE(fa, fb, 2, 3, 6, 7);
  const Float4 cd = STPL_RT_SHUFFLE(fc, fd, 0, 1, 4, 5) + STPL_RT_SHUFFLE(fc, fd, 2, 3, 6, 7);
  const Float4 sums = STPL_RT_SHUFFLE(ab, cd, 0, 2, 4, 6) + STPL_RT_SHUFFLE(ab, cd, 1, 3, 5, 7);
  __builtin_memcpy(out, &sums, sizeof(sums));
}

#undef STPL_RT_SHUFFLE

}  // namespace stpl_rt
