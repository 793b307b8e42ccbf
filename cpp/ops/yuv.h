// The arithmetic of YUV pixels.
#pragma once

#include <stpl_rt/frame.h>

#include "core/simd.h"

namespace stpl_rt {

// red = scale (Y - black) + red_cr (Cr - 128), and so on, in 16 fractional bits.
struct YuvWeights {
  int black;
  int scale;
  int red_cr;
  int green_cb;
  int green_cr;
  int blue_cb;
};

// From the luma weights of red and blue of the standard (ITU-R BT.601 and BT.709): chroma is (B - Y) / (2 - 2
// weight), and 224 of 219 steps wide where luma leaves room at both ends.
constexpr YuvWeights make_yuv_weights(double red, double blue, bool full) {
  constexpr double kOne = 65536;
  const double luma = full ? 1.0 : 255.0 / 219.0;
  const double chroma = full ? 1.0 : 255.0 / 224.0;
  const double green = 1 - red - blue;
  const auto fixed = [](double v) { return static_cast<int>(v * kOne + (v < 0 ? -0.5 : 0.5)); };
  return {.black = full ? 0 : 16,
          .scale = fixed(luma),
          .red_cr = fixed(chroma * 2 * (1 - red)),
          .green_cb = fixed(-chroma * 2 * (1 - blue) * blue / green),
          .green_cr = fixed(-chroma * 2 * (1 - red) * red / green),
          .blue_cb = fixed(chroma * 2 * (1 - blue))};
}

constexpr YuvWeights yuv_weights(YuvEncoding encoding) {
  switch (encoding) {
    case YuvEncoding::bt709:
      return make_yuv_weights(0.2126, 0.0722, false);
    case YuvEncoding::bt601_full:
      return make_yuv_weights(0.299, 0.114, true);
    case YuvEncoding::bt709_full:
      return make_yuv_weights(0.2126, 0.0722, true);
    case YuvEncoding::bt601:
      break;
  }
  return make_yuv_weights(0.299, 0.114, false);
}

// 16 fractional bits → a byte.
STPL_RT_INLINE int yuv_byte(int value) {
  const int rounded = (value + 32768) >> 16;
  const int low = rounded > 0 ? rounded : 0;
  return low < 255 ? low : 255;
}

struct Rgb {
  int red, green, blue;
};

STPL_RT_INLINE Rgb yuv_to_rgb(int luma, int cb, int cr, const YuvWeights& w) {
  const int bright = w.scale * (luma - w.black);
  const int u = cb - 128;
  const int v = cr - 128;
  return {yuv_byte(bright + w.red_cr * v), yuv_byte(bright + w.green_cb * u + w.green_cr * v),
          yuv_byte(bright + w.blue_cb * u)};
}

}  // namespace stpl_rt
