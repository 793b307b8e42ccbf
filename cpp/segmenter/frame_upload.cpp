#include "segmenter/frame_upload.h"

#include <stpl_rt/error.h>

#include <cstring>
#include <string>

#include "ops/frame_rows.h"

namespace stpl_rt {
namespace {

// Rows start where whole memory transactions do.
constexpr std::size_t kPitch = 256;

constexpr std::size_t pitch(std::size_t row_bytes) { return (row_bytes + kPitch - 1) / kPitch * kPitch; }

}  // namespace

FrameUpload::Planes FrameUpload::planes_of(const Frame& frame) {
  const FrameRows rows(frame);
  Planes planes;
  planes[0] = {
      rows.data, rows.stride,
      static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(bytes_per_pixel(frame.format)),
      frame.height};
  if (!is_yuv(frame.format)) return planes;
  const bool nv12 = frame.format == PixelFormat::nv12;
  const std::size_t row_bytes = static_cast<std::size_t>(rows.chroma_width()) * (nv12 ? 2U : 1U);
  planes[1] = {rows.chroma, rows.chroma_stride, row_bytes, rows.chroma_height()};
  if (!nv12) planes[2] = {rows.chroma_cr, rows.chroma_stride, row_bytes, rows.chroma_height()};
  return planes;
}

bool FrameUpload::fits(const Frame& frame) const noexcept {
  return staged_.data != nullptr && frame.width == staged_.width && frame.height == staged_.height &&
         frame.format == staged_.format && frame.encoding == staged_.encoding;
}

void FrameUpload::prepare(const Frame& frame) {
  forget();  // should there be no memory, nothing fits
  places_ = planes_of(frame);
  bytes_ = 0;
  for (Plane& plane : places_) {
    plane.stride = static_cast<std::ptrdiff_t>(pitch(plane.row_bytes));
    bytes_ += static_cast<std::size_t>(plane.stride) * static_cast<std::size_t>(plane.rows);
  }
  memory_.reserve(bytes_);
  std::uint8_t* to = memory_.data();
  for (Plane& plane : places_) {
    plane.data = plane.rows > 0 ? to : nullptr;
    to += plane.stride * plane.rows;
  }
  staged_ = frame;
  staged_.memory = FrameMemory::device;
  staged_.data = places_[0].data;
  staged_.stride = places_[0].stride;
  staged_.chroma = places_[1].data;
  staged_.chroma_cr = places_[2].data;
  staged_.chroma_stride = places_[1].stride;
}

void FrameUpload::upload(const Frame& frame, cuda::StreamHandle stream) {
  const Planes from = planes_of(frame);
  if (frame.memory == FrameMemory::host) {
    send(from, stream);
    return;
  }
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i].rows == 0) continue;
    if (from[i].stride < 0) {
      throw Error(ErrorCode::invalid_argument,
                  "frame: expected rows one after the other in the device's memory, found a stride of " +
                      std::to_string(from[i].stride));
    }
    cuda::copy_rows(memory_.data() + (places_[i].data - places_[0].data),
                    static_cast<std::size_t>(places_[i].stride), from[i].data,
                    static_cast<std::size_t>(from[i].stride), from[i].row_bytes, from[i].rows, stream);
  }
}

// In one copy, as it is to lie there.
void FrameUpload::send(const Planes& planes, cuda::StreamHandle stream) {
  std::byte* to = staging_.fill(bytes_);
  for (std::size_t i = 0; i < planes.size(); ++i) {
    for (int y = 0; y < planes[i].rows; ++y, to += places_[i].stride) {
      std::memcpy(to, planes[i].data + y * planes[i].stride, planes[i].row_bytes);
    }
  }
  staging_.send(memory_.data(), bytes_, stream);
}

}  // namespace stpl_rt
