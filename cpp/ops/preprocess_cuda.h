// preprocess.h on the GPU.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/frame.h>

#include <cstdint>

#include "core/cuda/handles.h"
#include "core/cuda/memory.h"
#include "core/half.h"
#include "core/image.h"
#include "ops/geometry.h"
#include "ops/resample.h"

namespace stpl_rt::cuda {

// AxisTaps in the device's memory.
struct TapsView {
  const int* first = nullptr;
  const float* weights = nullptr;  // tap by tap, `outputs` of each
  int count = 0;
  int outputs = 0;
};

class DeviceTaps {
 public:
  void assign(const AxisTaps& taps, StreamHandle stream);
  [[nodiscard]] TapsView view() const noexcept { return view_; }

 private:
  DeviceBuffer<int> first_;
  DeviceBuffer<float> weights_;
  TapsView view_;
};

// What all frames of one size share on their way into a network: made once, and kept while work with it is
// enqueued.
class FramePlan {
 public:
  // `luma_grid`: what luma() is to fill. Allocates, copies, waits. Throws Error(invalid_argument) for sizes
  // that cannot be.
  void prepare(Size frame, const InputSpec& spec, Size luma_grid, StreamHandle stream);

  struct Plane {
    int colour = 0;  // 0 red, 1 green, 2 blue
    float mean = 0.F;
    float inverse_std = 1.F;
  };
  struct View {
    Size frame, input, grid;
    Rect content;
    Plane planes[3];
    const std::uint8_t* lut = nullptr;  // 256 bytes for each of R, G, B; or null
    TapsView columns, rows;             // of the content
    TapsView luma_columns, luma_rows;   // of the grid
  };
  [[nodiscard]] const View& view() const noexcept { return view_; }

 private:
  View view_;
  DeviceBuffer<std::uint8_t> lut_;
  DeviceTaps columns_, rows_, luma_columns_, luma_rows_;
};

// As on the CPU, of a frame whose addresses are the device's. `out` takes 3 dense planes of the input's size.
// T: float or Half. Enqueues; neither waits nor allocates. Throws Error(invalid_argument) for a frame that
// cannot be read or is not of the plan's size.
template <class T>
void preprocess(const Frame& frame, const FramePlan& plan, T* out, StreamHandle stream);

// Likewise; `out` has the plan's grid's size.
void luma(const Frame& frame, const FramePlan& plan, ImageView<std::uint8_t> out, StreamHandle stream);

}  // namespace stpl_rt::cuda
