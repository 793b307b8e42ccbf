// Where the pixels of one row read when flow displaces them, and the reads themselves.
#pragma once

#include <cstddef>

#include "core/image.h"
#include "ops/bilinear.h"

namespace stpl_rt {

// Bilinear read of p: (index_x, index_y) is the upper left pixel; `right` and `down` lead to its neighbours.
template <class T>
STPL_RT_INLINE float read_bilinear(const T* p, std::ptrdiff_t right, std::ptrdiff_t down, float wx,
                                   float wy) {
  return mix(mix(static_cast<float>(p[0]), static_cast<float>(p[right]), wx),
             mix(static_cast<float>(p[down]), static_cast<float>(p[down + right]), wx), wy);
}

// Scratch of the calling thread, valid until its next make().
struct RowPositions {
  int* index_x;
  int* index_y;
  float* weight_x;
  float* weight_y;

  static RowPositions make(int width);
};

// Pixel x of row y reads at (x + dx[x], y + dy[x]), clamped to a width x height image.
void locate_row(const float* dx, const float* dy, int y, Size size, const RowPositions& out);

// Steps of a bilinear read in an image: 0 where there is only one column or row.
template <class T>
struct ReadSteps {
  explicit ReadSteps(const ImageView<T>& image)
      : right(image.width > 1 ? 1 : 0), down(image.height > 1 ? static_cast<int>(image.stride) : 0) {}
  int right;
  int down;
};

}  // namespace stpl_rt
