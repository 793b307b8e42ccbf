#include "core/cuda/launch.h"
#include "ops/reads_cuda.h"
#include "segmenter/drift.h"
#include "segmenter/drift_cuda.h"

namespace stpl_rt::cuda {
namespace {

// A warp a row, of those that are looked at.
struct DriftOfRows {
  ImageView<const std::uint8_t> current, key;
  ConstFlowPlanes flow;
  ImageView<const float> validity;
  int spacing;
  float* rows;

  STPL_RT_KERNEL void operator()(const Warp& warp, int row, int /*y*/) const {
    const Size size = flow.size();
    const int y = spacing / 2 + row * spacing;
    const float sum = warp.sum<float, float>([&](int lane) {
      float own = 0.F;
      for (int x = spacing / 2 + lane * spacing; x < size.width; x += kWarpLanes * spacing) {
        const float dx = flow.dx.row(y)[x];
        const float dy = flow.dy.row(y)[x];
        const float before = displaced(x, y, dx, dy, size).read(key);
        own += pixel_drift(
            dx * (1.F / static_cast<float>(size.width)), dy * (1.F / static_cast<float>(size.height)),
            static_cast<float>(current.row(y)[x]) - before, validity.empty() ? 1.F : validity.row(y)[x]);
      }
      return own;
    });
    warp.one(0, [&](int) { rows[row] = sum; });
  }
};

struct MeanOfRows {
  const float* rows;
  Size looked_at;
  double* out;

  STPL_RT_KERNEL void operator()(const Warp& warp, int /*x*/, int /*y*/) const {
    const double sum = warp.sum<double, double>([&](int lane) {
      double own = 0;
      for (int i = lane; i < looked_at.height; i += kWarpLanes) own += rows[i];
      return own;
    });
    warp.one(0, [&](int) { *out = sum / (static_cast<double>(looked_at.width) * looked_at.height); });
  }
};

}  // namespace

void drift(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> key,
           const ConstFlowPlanes& flow, ImageView<const float> validity, float* scratch, double* out,
           StreamHandle stream) {
  const Size size = current.size();
  if (key.size() != size || flow.dx.size() != size || flow.dy.size() != size ||
      (!validity.empty() && validity.size() != size) || size.width < 1 || size.height < 1 ||
      size.height > kDriftScratch) {
    throw Error(ErrorCode::invalid_argument, "drift: expected two images, flow and validity of one size");
  }
  const int spacing = drift_spacing(size);
  const auto count = [&](int extent) { return (extent - spacing / 2 + spacing - 1) / spacing; };
  const Size looked_at = {count(size.width), count(size.height)};
  if (looked_at.width < 1 || looked_at.height < 1) {  // all fall beside a grid so narrow
    set_bytes(out, 0, sizeof(*out), stream);
    return;
  }
  for_each_warp(DriftOfRows{current, key, flow, validity, spacing, scratch}, {looked_at.height, 1}, stream);
  for_each_warp(MeanOfRows{scratch, looked_at, out}, {1, 1}, stream);
}

}  // namespace stpl_rt::cuda
