#include <string>

#include "core/cuda/launch.h"
#include "ops/bilinear.h"
#include "ops/warp_cuda.h"

namespace stpl_rt::cuda {
namespace {

// A thread a pixel: where it reads is found once for all channels.
template <class T>
struct WarpPlanes {
  const T* past;
  int channels;
  ConstFlowPlanes flow;
  T* out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const Size size = flow.size();
    const LinearTap column = linear_tap(static_cast<float>(x) + flow.dx.row(y)[x], size.width);
    const LinearTap row = linear_tap(static_cast<float>(y) + flow.dy.row(y)[x], size.height);
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(size.width) * size.height;
    const std::ptrdiff_t down = size.height > 1 ? size.width : 0;
    const int right = size.width > 1 ? 1 : 0;
    const BilinearWeights weights = bilinear_weights(column.weight, row.weight);
    const T* from = past + static_cast<std::ptrdiff_t>(row.index) * size.width + column.index;
    T* to = out + static_cast<std::ptrdiff_t>(y) * size.width + x;
#pragma unroll 4
    for (int c = 0; c < channels; ++c, from += area, to += area) {
      *to = from_float<T>(blend(to_float(from[0]), to_float(from[right]), to_float(from[down]),
                                to_float(from[down + right]), weights));
    }
  }
};

}  // namespace

template <class T>
void warp(const T* past, int channels, const ConstFlowPlanes& flow, T* out, StreamHandle stream) {
  const Size size = flow.size();
  if (past == nullptr || out == nullptr || channels < 1 || size.width < 1 || size.height < 1 ||
      flow.dy.size() != size) {
    throw Error(ErrorCode::invalid_argument,
                "warp: expected planes of at least 1x1, found " + std::to_string(channels) + " of " +
                    std::to_string(size.width) + "x" + std::to_string(size.height));
  }
  for_each_pixel(WarpPlanes<T>{past, channels, flow, out}, size, stream);
}

template void warp(const float*, int, const ConstFlowPlanes&, float*, StreamHandle);
template void warp(const Half*, int, const ConstFlowPlanes&, Half*, StreamHandle);

}  // namespace stpl_rt::cuda
