#include "ops/frame_copy.h"

#include <algorithm>

#include "ops/frame_rows.h"

namespace stpl_rt {
namespace {

template <class T>
T* copy_rows(const T* from, std::ptrdiff_t stride, std::ptrdiff_t row, int rows, T* to) {
  for (int y = 0; y < rows; ++y) to = std::copy_n(from + y * stride, row, to);
  return to;
}

}  // namespace

Frame copy_frame(const Frame& frame, AlignedBuffer<std::uint8_t>& memory) {
  const FrameRows source(frame);
  const bool yuv = is_yuv(frame.format);
  const bool nv12 = frame.format == PixelFormat::nv12;
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(frame.width) * bytes_per_pixel(frame.format);
  const std::ptrdiff_t chroma_row = yuv ? std::ptrdiff_t{nv12 ? 2 : 1} * source.chroma_width() : 0;
  const std::ptrdiff_t chroma_bytes = chroma_row * source.chroma_height() * (nv12 ? 1 : 2);
  memory.reserve(static_cast<std::size_t>(row * frame.height + chroma_bytes));

  Frame copy = frame;
  copy.data = memory.data();
  copy.stride = row;
  std::uint8_t* to = copy_rows(source.data, source.stride, row, frame.height, memory.data());
  if (!yuv) return copy;
  copy.chroma = to;
  copy.chroma_stride = chroma_row;
  to = copy_rows(source.chroma, source.chroma_stride, chroma_row, source.chroma_height(), to);
  if (nv12) return copy;
  copy.chroma_cr = to;
  copy_rows(source.chroma_cr, source.chroma_stride, chroma_row, source.chroma_height(), to);
  return copy;
}

FlowView copy_flow(const FlowView& flow, AlignedBuffer<float>& memory) {
  const std::ptrdiff_t row = std::ptrdiff_t{2} * flow.width;
  memory.reserve(static_cast<std::size_t>(row * flow.height));
  copy_rows(flow.data, flow.stride != 0 ? flow.stride : row, row, flow.height, memory.data());
  return {.data = memory.data(), .width = flow.width, .height = flow.height, .stride = row};
}

}  // namespace stpl_rt
