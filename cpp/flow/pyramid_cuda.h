// pyramid.h on the GPU.
#pragma once

#include <cstdint>
#include <vector>

#include "core/cuda/handles.h"
#include "core/cuda/memory.h"
#include "core/image.h"
#include "flow/pyramid.h"

namespace stpl_rt::cuda {

// Levels `finest` to `coarsest` alone, with their borders, in memory of its own.
class Pyramid {
 public:
  // Allocates, where it must grow.
  void prepare(const PyramidLayout& layout);
  // `image`: the device's, of the layout's size. Enqueues; neither waits nor allocates.
  void build(ImageView<const std::uint8_t> image, StreamHandle stream);

  [[nodiscard]] const PyramidLayout& layout() const noexcept { return layout_; }
  // `data` is pixel (0, 0); `border` pixels around the level can be read too.
  [[nodiscard]] ImageView<const float> level(int index) const noexcept { return mutable_level(index); }

 private:
  [[nodiscard]] ImageView<float> mutable_level(int index) const noexcept {
    return levels_[static_cast<std::size_t>(index - layout_.finest)];
  }

  PyramidLayout layout_;
  DeviceBuffer<float> memory_;
  std::vector<ImageView<float>> levels_;
};

}  // namespace stpl_rt::cuda
