#include "ops/similarity.h"

#include <algorithm>
#include <cmath>

#include "ops/bilinear.h"

namespace stpl_rt {
namespace {

float read(ImageView<const std::uint8_t> image, float x, float y) {
  const LinearTap tx = linear_tap(x, image.width);
  const LinearTap ty = linear_tap(y, image.height);
  const int step = image.width > 1 ? 1 : 0;
  const std::uint8_t* const top = image.row(ty.index) + tx.index;
  const std::uint8_t* const bottom = image.height > 1 ? top + image.stride : top;
  return mix(mix(top[0], top[step], tx.weight), mix(bottom[0], bottom[step], tx.weight), ty.weight);
}

constexpr int kBlock = BlockSpread::kBlock;
constexpr int kSpacing = BlockSpread::kSpacing;
constexpr int kSamples = BlockSpread::kSamples;

void add_block(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
               const FlowField* flow, int left, int top, Moments& moments) {
  float sum_a = 0, sum_b = 0, sum_aa = 0, sum_bb = 0, sum_ab = 0;
  for (int y = top + kSpacing / 2; y < top + kBlock; y += kSpacing) {
    for (int x = left + kSpacing / 2; x < left + kBlock; x += kSpacing) {
      const float dx = flow != nullptr ? flow->dx.row(y)[x] : 0.F;
      const float dy = flow != nullptr ? flow->dy.row(y)[x] : 0.F;
      const float a = current.row(y)[x];
      const float b = read(past, static_cast<float>(x) + dx, static_cast<float>(y) + dy);
      sum_a += a;
      sum_b += b;
      sum_aa += a * a;
      sum_bb += b * b;
      sum_ab += a * b;
    }
  }
  moments.current += sum_aa - sum_a * sum_a / kSamples;
  moments.past += sum_bb - sum_b * sum_b / kSamples;
  moments.both += sum_ab - sum_a * sum_b / kSamples;
}

}  // namespace

Similarity similarity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                      const FlowField* flow) {
  const BlockSpread spread(current.size());
  Moments moments;
  for (int i = 0; i < spread.count; ++i) {
    add_block(current, past, flow, spread.left(i), spread.top(i), moments);
  }
  return to_similarity(moments, spread.count);
}

Similarity to_similarity(const Moments& moments, int blocks) {
  if (blocks == 0) return {};
  const double samples = static_cast<double>(blocks) * BlockSpread::kSamples;
  const double scale = std::sqrt(moments.current * moments.past);
  return {.correlation = scale > 1e-3 * samples ? moments.both / scale : 0,
          .residual = std::sqrt(std::max(0.0, moments.current + moments.past - 2 * moments.both) / samples),
          .blocks = blocks};
}

}  // namespace stpl_rt
