// Rows of YUV pixels become RGB. Inlined into functions that are compiled for several instruction sets.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "ops/yuv.h"

namespace stpl_rt {

// One sample of Cb and of Cr for each pixel.
STPL_RT_INLINE void yuv_row_to_rgb(const std::uint8_t* luma, const std::uint8_t* cb, const std::uint8_t* cr,
                                   YuvWeights w, int width, std::uint8_t* out) {
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const int bright = w.scale * (luma[x] - w.black);
    const int u = cb[x] - 128;
    const int v = cr[x] - 128;
    out[3 * x] = static_cast<std::uint8_t>(yuv_byte(bright + w.red_cr * v));
    out[3 * x + 1] = static_cast<std::uint8_t>(yuv_byte(bright + w.green_cb * u + w.green_cr * v));
    out[3 * x + 2] = static_cast<std::uint8_t>(yuv_byte(bright + w.blue_cb * u));
  }
}

// Chroma is repeated, not interpolated, as OpenCV does and as decoders' own converters do by default.
STPL_RT_INLINE void repeat_chroma(const std::uint8_t* chroma, int step, int pairs, std::uint8_t* out) {
#pragma omp simd
  for (int i = 0; i < pairs; ++i) {
    out[2 * i] = chroma[i * step];
    out[2 * i + 1] = chroma[i * step];
  }
}

// One sample for each pair of pixels. `step`: bytes from one sample to the next, a constant where it is
// inlined.
STPL_RT_INLINE void yuv_pairs_to_rgb(const std::uint8_t* luma, const std::uint8_t* cb, const std::uint8_t* cr,
                                     int step, YuvWeights w, int width, std::uint8_t* out) {
  constexpr int kBlock = 256;  // pixels converted at a time, even
  std::uint8_t blue[kBlock], red[kBlock];
  for (int first = 0; first < width; first += kBlock) {
    const int count = width - first < kBlock ? width - first : kBlock;
    const int pairs = count / 2 + count % 2;
    const int at = first / 2 * step;
    repeat_chroma(cb + at, step, pairs, blue);
    repeat_chroma(cr + at, step, pairs, red);
    yuv_row_to_rgb(luma + first, blue, red, w, count, out + 3 * first);
  }
}

}  // namespace stpl_rt
