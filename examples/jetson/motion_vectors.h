// Motion vectors of NVIDIA's optical-flow hardware as flow that Segmenter::push() takes.
#pragma once

#include <stpl_rt/flow.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace jetson {

// As VPI and the Video Codec SDK's optical flow write them: for each block of the first of two pictures a
// pair (x, y) to where it lies in the second, in pixels, as S10.5: a sign, 10 bits before the point and 5
// after it.
struct MotionVectors {
  const std::int16_t* data = nullptr;  // pairs, row after row
  int columns = 0;
  int rows = 0;
  std::ptrdiff_t pitch = 0;  // bytes from one row to the next
  int picture_width = 0;     // of the pictures that were compared, which may be smaller than the frame
  int picture_height = 0;
};

// The first picture must be the current frame and the second the one before it, the other way round than the
// hardware calls them: flow lives on the current frame. The result stands for the whole frame; it is valid as
// long as `memory`, which is reused.
inline stpl_rt::FlowView to_flow(const MotionVectors& vectors, std::vector<float>& memory) {
  constexpr float kOne = 32.F;
  const auto row_length = std::size_t{2} * static_cast<std::size_t>(vectors.columns);
  memory.resize(row_length * static_cast<std::size_t>(vectors.rows));
  // From pixels of the picture to cells of the grid.
  const float scale_x =
      static_cast<float>(vectors.columns) / (kOne * static_cast<float>(vectors.picture_width));
  const float scale_y =
      static_cast<float>(vectors.rows) / (kOne * static_cast<float>(vectors.picture_height));
  for (int y = 0; y < vectors.rows; ++y) {
    const auto* const bytes = reinterpret_cast<const unsigned char*>(vectors.data) + y * vectors.pitch;
    const auto* const from = reinterpret_cast<const std::int16_t*>(bytes);
    float* const to = memory.data() + static_cast<std::size_t>(y) * row_length;
    for (std::size_t i = 0; i < row_length; i += 2) {
      to[i] = static_cast<float>(from[i]) * scale_x;
      to[i + 1] = static_cast<float>(from[i + 1]) * scale_y;
    }
  }
  return {.data = memory.data(), .width = vectors.columns, .height = vectors.rows};
}

}  // namespace jetson
