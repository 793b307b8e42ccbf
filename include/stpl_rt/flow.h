// A view of a dense optical-flow field.
#pragma once

#include <stpl_rt/frame.h>

#include <cstddef>

namespace stpl_rt {

// Backward flow: it lives on the grid of frame t and points into frame t-1, in pixels of this grid:
// past position of (x, y) = (x + dx, y + dy). Interleaved (dx, dy), float32. The grid may have any
// size; it stands for the whole frame and is rescaled per axis.
struct FlowView {
  const float* data = nullptr;
  int width = 0;
  int height = 0;
  std::ptrdiff_t stride = 0;  // floats from one row to the next; 0: 2 * width
  FrameMemory memory = FrameMemory::host;
};

}  // namespace stpl_rt
