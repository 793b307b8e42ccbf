#include "ops/frame_rows.h"

#include <string>

#include "core/simd.h"
#include "ops/preprocess.h"
#include "ops/yuv_row.h"

namespace stpl_rt {
namespace {

[[noreturn]] void refuse(const std::string& text) {
  throw Error(ErrorCode::invalid_argument, "frame: " + text);
}

void check_stride(const char* name, std::ptrdiff_t stride, std::ptrdiff_t least) {
  if (stride == 0 || reaches(stride, least)) return;
  refuse("expected a " + std::string(name) + " of at least " + std::to_string(least) + " bytes, found " +
         std::to_string(stride));
}

// The strides that 0 stands for.
std::ptrdiff_t stride_of(const Frame& frame) {
  return frame.stride != 0 ? frame.stride : std::ptrdiff_t{frame.width} * bytes_per_pixel(frame.format);
}
std::ptrdiff_t chroma_stride_of(const Frame& frame) {
  if (frame.chroma_stride != 0) return frame.chroma_stride;
  const std::ptrdiff_t stride = stride_of(frame);
  return frame.format == PixelFormat::nv12 ? stride : half_up(stride);
}

void check_chroma(const Frame& frame) {
  if (frame.encoding > YuvEncoding::bt709_full) {
    refuse("expected the encoding bt601, bt709, bt601_full or bt709_full, found number " +
           std::to_string(static_cast<int>(frame.encoding)));
  }
  const bool nv12 = frame.format == PixelFormat::nv12;
  const std::ptrdiff_t row = half_up(std::ptrdiff_t{frame.width}) * (nv12 ? 2 : 1);
  check_stride("chroma stride", frame.chroma_stride, row);
  const std::ptrdiff_t stride = chroma_stride_of(frame);
  if (!reaches(stride, row)) {
    refuse("expected a chroma stride, for rows of luma are shorter than those of chroma (width " +
           std::to_string(frame.width) + " is odd); found none");
  }
  // What runs upwards has its last row first: nothing lies right after it.
  if (frame.chroma == nullptr && (stride_of(frame) < 0 || stride < 0)) {
    refuse("expected chroma, as the stride is negative, found none");
  }
  if (!nv12 && frame.chroma_cr == nullptr && stride < 0) {
    refuse("expected the plane of Cr, as the chroma stride is negative, found none");
  }
}

STPL_RT_MULTIVERSION
void convert_row(const std::uint8_t* luma, const std::uint8_t* cb, const std::uint8_t* cr, int chroma_step,
                 YuvWeights w, int width, std::uint8_t* out) {
  if (chroma_step == 2) {
    yuv_pairs_to_rgb(luma, cb, cr, 2, w, width, out);
  } else {
    yuv_pairs_to_rgb(luma, cb, cr, 1, w, width, out);
  }
}

}  // namespace

void check_frame(const Frame& frame) {
  switch (frame.format) {  // it may come from another language
    case PixelFormat::rgb:
    case PixelFormat::bgr:
    case PixelFormat::gray:
    case PixelFormat::nv12:
    case PixelFormat::i420:
      break;
    default:
      refuse("expected the format rgb, bgr, gray, nv12 or i420, found number " +
             std::to_string(static_cast<int>(frame.format)));
  }
  if (frame.data == nullptr) refuse("expected pixels, found none");
  if (frame.width < 1 || frame.height < 1) {
    refuse("expected a size of at least 1x1, found " + std::to_string(frame.width) + "x" +
           std::to_string(frame.height));
  }
  check_stride("stride", frame.stride, std::ptrdiff_t{frame.width} * bytes_per_pixel(frame.format));
  if (is_yuv(frame.format)) check_chroma(frame);
}

FrameRows::FrameRows(const Frame& frame)
    : data(frame.data),
      width(frame.width),
      height(frame.height),
      stride(frame.stride),
      channels(frame.format == PixelFormat::gray ? 1 : 3),
      format(frame.format),
      encoding(frame.encoding) {
  check_frame(frame);
  stride = stride_of(frame);
  if (!is_yuv(format)) return;
  const bool nv12 = format == PixelFormat::nv12;
  const std::ptrdiff_t rows = chroma_height();
  chroma_stride = chroma_stride_of(frame);
  chroma = frame.chroma != nullptr ? frame.chroma : data + stride * height;
  if (nv12) {
    chroma_cr = chroma + 1;
  } else {
    chroma_cr = frame.chroma_cr != nullptr ? frame.chroma_cr : chroma + chroma_stride * rows;
  }
}

const std::uint8_t* FrameRows::row(int y, std::uint8_t* scratch) const noexcept {
  if (!is_yuv(format)) return stored_row(y);
  const std::ptrdiff_t at = (y / 2) * chroma_stride;
  convert_row(stored_row(y), chroma + at, chroma_cr + at, format == PixelFormat::nv12 ? 2 : 1,
              yuv_weights(encoding), width, scratch);
  return scratch;
}

}  // namespace stpl_rt
