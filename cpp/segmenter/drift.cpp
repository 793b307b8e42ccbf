#include "segmenter/drift.h"

#include <algorithm>
#include <cmath>

#include "ops/row_positions.h"

namespace stpl_rt {

int drift_spacing(Size size) {
  constexpr double kMostPixels = 1 << 14;
  const double area = static_cast<double>(size.width) * size.height;
  return std::max(1, static_cast<int>(std::ceil(std::sqrt(area / kMostPixels))));
}

double drift(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> key, const FlowField& flow,
             ImageView<const float> validity) {
  const int width = flow.width();
  const int height = flow.height();
  const int spacing = drift_spacing(flow.size());
  const float per_width = 1.F / static_cast<float>(width);
  const float per_height = 1.F / static_cast<float>(height);
  const ReadSteps<const std::uint8_t> steps(key);
  double sum = 0;
  int count = 0;
  for (int y = spacing / 2; y < height; y += spacing) {
    const float* const dx = flow.dx.row(y);
    const float* const dy = flow.dy.row(y);
    float row = 0;
    for (int x = spacing / 2; x < width; x += spacing, ++count) {
      const LinearTap tx = linear_tap(static_cast<float>(x) + dx[x], width);
      const LinearTap ty = linear_tap(static_cast<float>(y) + dy[x], height);
      const float before =
          read_bilinear(key.row(ty.index) + tx.index, steps.right, steps.down, tx.weight, ty.weight);
      row +=
          pixel_drift(dx[x] * per_width, dy[x] * per_height, static_cast<float>(current.row(y)[x]) - before,
                      validity.empty() ? 1.F : validity.row(y)[x]);
    }
    sum += row;
  }
  return count > 0 ? sum / count : 0;
}

}  // namespace stpl_rt
