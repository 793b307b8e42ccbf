// Slow, plain references in double precision, written without a look at the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "core/image.h"
#include "ops/compose.h"

namespace stpl_rt::reference {

// Value of a plane at (x, y): border-clamped bilinear.
template <class T>
double bilinear(const T* plane, int width, int height, std::ptrdiff_t stride, double x, double y) {
  x = std::clamp(x, 0.0, width - 1.0);
  y = std::clamp(y, 0.0, height - 1.0);
  const int x0 = static_cast<int>(std::floor(x)), y0 = static_cast<int>(std::floor(y));
  const int x1 = std::min(x0 + 1, width - 1), y1 = std::min(y0 + 1, height - 1);
  const double fx = x - x0, fy = y - y0;
  const auto at = [&](int row, int column) { return static_cast<double>(plane[row * stride + column]); };
  return (at(y0, x0) * (1 - fx) + at(y0, x1) * fx) * (1 - fy) +
         (at(y1, x0) * (1 - fx) + at(y1, x1) * fx) * fy;
}

inline std::vector<float> noise(std::size_t count, unsigned seed, float scale = 1.F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.F, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

inline std::vector<unsigned char> bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<unsigned char> values(count);
  for (unsigned char& value : values) value = static_cast<unsigned char>(random());
  return values;
}

inline FlowField random_flow(int width, int height, unsigned seed, float scale) {
  FlowField flow;
  flow.resize(width, height);
  const std::vector<float> values = noise(2 * static_cast<std::size_t>(width) * height, seed, scale);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      flow.dx.row(y)[x] = values[2 * (static_cast<std::size_t>(y) * width + x)];
      flow.dy.row(y)[x] = values[2 * (static_cast<std::size_t>(y) * width + x) + 1];
    }
  }
  return flow;
}

}  // namespace stpl_rt::reference
