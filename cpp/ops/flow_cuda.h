// A flow field in the GPU's memory.
#pragma once

#include "core/cuda/memory.h"
#include "core/image.h"
#include "core/simd.h"

namespace stpl_rt::cuda {

// See FlowField. Rows of both planes are `dx.stride` floats apart.
struct FlowPlanes {
  ImageView<float> dx, dy;
};

struct ConstFlowPlanes {
  ImageView<const float> dx, dy;

  ConstFlowPlanes() = default;
  ConstFlowPlanes(ImageView<const float> x, ImageView<const float> y) : dx(x), dy(y) {}
  ConstFlowPlanes(const FlowPlanes& planes) : dx(planes.dx), dy(planes.dy) {}  // NOLINT: as a view of them
  [[nodiscard]] STPL_RT_HOST_DEVICE Size size() const { return dx.size(); }
  [[nodiscard]] STPL_RT_HOST_DEVICE bool empty() const { return dx.empty(); }
};

class DeviceFlow {
 public:
  void resize(int width, int height) {
    dx_.resize(width, height);
    dy_.resize(width, height);
  }
  void fill_zero(StreamHandle stream) {
    cuda::fill_zero(dx_.view(), stream);
    cuda::fill_zero(dy_.view(), stream);
  }
  [[nodiscard]] FlowPlanes planes() const noexcept { return {dx_.view(), dy_.view()}; }
  [[nodiscard]] ConstFlowPlanes cplanes() const noexcept { return planes(); }

 private:
  DeviceImage<float> dx_, dy_;
};

}  // namespace stpl_rt::cuda
