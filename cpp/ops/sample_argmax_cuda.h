// sample_argmax.h on the GPU. All addresses are the device's; everything is enqueued on `stream`, nothing
// waits and nothing is allocated. T: float or Half.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cuda/handles.h"
#include "core/half.h"
#include "core/image.h"
#include "core/simd.h"
#include "ops/flow_cuda.h"
#include "ops/geometry.h"

namespace stpl_rt::cuda {

// Dense (classes, height, width), as networks give them. 1 to 255 classes.
template <class T>
struct PlanarLogits {
  const T* data = nullptr;
  int classes = 0;
  int width = 0;
  int height = 0;
};

// Of every pixel the classes side by side (height, width, 4 * quads), so that a displaced read is a few whole
// vectors. Those past the last class repeat class 0. `data` is aligned to 4 T. Behind them lies a byte for
// each pixel: its lowest class of the largest logit.
template <class T>
struct PackedLogits {
  const T* data = nullptr;
  int classes = 0;
  int width = 0;
  int height = 0;
  [[nodiscard]] STPL_RT_HOST_DEVICE int quads() const { return (classes + 3) / 4; }
  [[nodiscard]] const std::uint8_t* labels() const {
    return reinterpret_cast<const std::uint8_t*>(data + std::ptrdiff_t{4} * quads() * width * height);
  }
};

// Elements that pack_logits() writes.
inline std::size_t packed_size(int classes, int width, int height) {
  const auto pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  return static_cast<std::size_t>((classes + 3) / 4 * 4) * pixels +
         (pixels + 1) / 2;  // elements of two bytes
}

// Key frames' logits, packed into `out`, of packed_size().
template <class T>
PackedLogits<T> pack_logits(const PlanarLogits<T>& logits, T* out, StreamHandle stream);

// Labels, and confidence unless that is empty, of the geometry's output size. Both throw
// Error(invalid_argument) for sizes that do not belong together, before anything is enqueued.
template <class T>
void sample_argmax(const PlanarLogits<T>& logits, const Geometry& geometry, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, StreamHandle stream);

// Displaced by `flow`, unless that is empty; `validity` (the flow's size, or empty) multiplies the
// confidence.
template <class T>
void sample_argmax(const PackedLogits<T>& logits, const Geometry& geometry, const ConstFlowPlanes& flow,
                   ImageView<const float> validity, ImageView<std::uint8_t> labels,
                   ImageView<std::uint8_t> confidence, StreamHandle stream);

// The logits themselves, carried, as dense planes of the geometry's output size. U: float or Half.
template <class T, class U>
void carry_logits(const PackedLogits<T>& logits, const Geometry& geometry, const ConstFlowPlanes& flow,
                  U* out, StreamHandle stream);

}  // namespace stpl_rt::cuda
