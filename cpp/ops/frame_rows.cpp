#include "ops/frame_rows.h"

#include <cstdlib>
#include <string>

#include "ops/preprocess.h"

namespace stpl_rt {

void check_frame(const Frame& frame) {
  const auto refuse = [](const std::string& text) {
    throw Error(ErrorCode::invalid_argument, "frame: " + text);
  };
  if (frame.data == nullptr) refuse("expected pixels, found none");
  if (frame.width < 1 || frame.height < 1) {
    refuse("expected a size of at least 1x1, found " + std::to_string(frame.width) + "x" +
           std::to_string(frame.height));
  }
  const auto row_bytes = static_cast<std::ptrdiff_t>(frame.width) * bytes_per_pixel(frame.format);
  if (frame.stride != 0 && std::abs(frame.stride) < row_bytes) {
    refuse("expected a stride of at least " + std::to_string(row_bytes) + " bytes, found " +
           std::to_string(frame.stride));
  }
}

FrameRows::FrameRows(const Frame& frame) : data(frame.data), width(frame.width), height(frame.height) {
  check_frame(frame);
  channels = bytes_per_pixel(frame.format);
  format = frame.format;
  stride = frame.stride != 0 ? frame.stride : static_cast<std::ptrdiff_t>(frame.width) * channels;
}

}  // namespace stpl_rt
