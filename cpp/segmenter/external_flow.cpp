#include "segmenter/external_flow.h"

#include <stpl_rt/error.h>

#include <string>

#include "core/image.h"
#include "ops/frame_rows.h"

namespace stpl_rt {
namespace {

[[noreturn]] void refuse(const std::string& expected, const std::string& found) {
  throw Error(ErrorCode::invalid_argument, "flow: expected " + expected + ", found " + found);
}

// NaN compares false, so it counts as too long.
bool row_is_sound(const float* row, int count) {
  int sound = 0;
#pragma omp simd reduction(+ : sound)
  for (int i = 0; i < count; ++i) sound += row[i] >= -kMaxSide && row[i] <= kMaxSide ? 1 : 0;
  return sound == count;
}

[[noreturn]] void refuse_vector(const float* row, int y) {
  int x = 0;
  while (row_is_sound(row + 2 * x, 2)) ++x;
  refuse("finite vectors of at most " + std::to_string(kMaxSide) + " pixels",
         "(" + std::to_string(row[2 * x]) + ", " + std::to_string(row[2 * x + 1]) + ") at x " +
             std::to_string(x) + ", y " + std::to_string(y));
}

}  // namespace

void check_external_flow(const FlowView& flow) {
  if (flow.data == nullptr) refuse("data", "a null pointer");
  if (flow.width < 1 || flow.height < 1 || flow.width > kMaxSide || flow.height > kMaxSide) {
    refuse("a width and height from 1 to " + std::to_string(kMaxSide),
           std::to_string(flow.width) + " x " + std::to_string(flow.height));
  }
  const std::ptrdiff_t row_length = std::ptrdiff_t{2} * flow.width;
  const std::ptrdiff_t stride = flow.stride == 0 ? row_length : flow.stride;
  if (!reaches(stride, row_length)) {
    refuse("a stride of at least " + std::to_string(row_length) + " floats", std::to_string(stride));
  }
  if (flow.memory == FrameMemory::device) return;
  for (int y = 0; y < flow.height; ++y) {
    const float* const row = flow.data + y * stride;
    if (!row_is_sound(row, static_cast<int>(row_length))) refuse_vector(row, y);
  }
}

}  // namespace stpl_rt
