#include <algorithm>
#include <string>

#include "ops/frame_rows.h"
#include "ops/geometry.h"
#include "ops/preprocess.h"
#include "ops/resample.h"
#include "ops/yuv.h"

namespace stpl_rt {
namespace {

STPL_RT_MULTIVERSION
void luma256_rgb(const std::uint8_t* pixels, int red, int blue, int n, std::uint16_t* out) {
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    const std::uint8_t* pixel = pixels + 3 * i;
    out[i] = static_cast<std::uint16_t>(luma256(pixel[red], pixel[1], pixel[blue]));
  }
}

STPL_RT_MULTIVERSION
void luma256_gray(const std::uint8_t* pixels, int n, std::uint16_t* out) {
#pragma omp simd
  for (int i = 0; i < n; ++i) out[i] = static_cast<std::uint16_t>(luma256(pixels[i], pixels[i], pixels[i]));
}

STPL_RT_MULTIVERSION
void round_row(const std::uint16_t* row, int n, std::uint8_t* out) {
#pragma omp simd
  for (int i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>((row[i] + 128) >> 8);
}

STPL_RT_MULTIVERSION
void round_row(const float* row, int n, std::uint8_t* out) {
#pragma omp simd
  for (int i = 0; i < n; ++i)
    out[i] = static_cast<std::uint8_t>(static_cast<int>(row[i] * (1.F / 256.F) + 0.5F));
}

// The frame's own luma, stretched to 0 to 255 where it leaves room at both ends.
STPL_RT_MULTIVERSION
void luma256_yuv(const std::uint8_t* luma, int black, int scale, int n, std::uint16_t* out) {
#pragma omp simd
  for (int i = 0; i < n; ++i) out[i] = static_cast<std::uint16_t>(256 * yuv_byte(scale * (luma[i] - black)));
}

void luma256_row(const FrameRows& frame, int y, std::uint16_t* out) {
  const std::uint8_t* const row = frame.stored_row(y);
  if (is_yuv(frame.format)) {
    const YuvWeights weights = yuv_weights(frame.encoding);
    luma256_yuv(row, weights.black, weights.scale, frame.width, out);
  } else if (frame.channels == 1) {
    luma256_gray(row, frame.width, out);
  } else {
    const bool bgr = frame.format == PixelFormat::bgr;
    luma256_rgb(row, bgr ? 2 : 0, bgr ? 0 : 2, frame.width, out);
  }
}

void resample_rows(const FrameRows& frame, const AxisTaps& columns, const AxisTaps& rows,
                   ImageView<std::uint8_t> out, int begin, int end) {
  static thread_local AlignedBuffer<std::uint16_t> bright_buffer;
  static thread_local AlignedBuffer<float> float_buffer;
  const int readable = columns.readable();
  bright_buffer.reserve(static_cast<std::size_t>(frame.width));
  float_buffer.reserve(static_cast<std::size_t>(readable) + static_cast<std::size_t>(out.width));
  std::uint16_t* bright = bright_buffer.data();
  float* blended = float_buffer.data();
  float* resampled = blended + readable;
  std::fill(blended + frame.width, blended + readable, 0.F);
  for (int y = begin; y < end; ++y) {
    bool fresh = true;
    for (int t = 0; t < rows.count(); ++t) {
      const float weight = rows.weights(t)[y];
      if (weight == 0.F) continue;
      luma256_row(frame, rows.first()[y] + t, bright);
      accumulate(bright, weight, fresh, frame.width, blended);
      fresh = false;
    }
    resample_row(blended, 1, 0, columns, resampled);
    round_row(resampled, out.width, out.row(y));
  }
}

}  // namespace

void check_luma(const InputSpec& spec, Size grid) {
  if (grid.width >= 1 && grid.height >= 1 && spec.width >= 1 && spec.height >= 1) return;
  throw Error(ErrorCode::invalid_argument,
              "luma: expected an input and a grid of at least 1x1, found " + std::to_string(spec.width) +
                  "x" + std::to_string(spec.height) + " and " + std::to_string(grid.width) + "x" +
                  std::to_string(grid.height));
}

void luma(const Frame& frame, const InputSpec& spec, ImageView<std::uint8_t> out, ThreadPool& pool) {
  const FrameRows source(frame);
  check_luma(spec, out.empty() ? Size{} : out.size());
  const Rect content = content_rect({frame.width, frame.height}, spec);
  const bool covered = content.width == spec.width && content.height == spec.height;
  if (covered && out.width == frame.width && out.height == frame.height) {
    pool.parallel_for(out.height, 16, [&](int begin, int end) {
      static thread_local AlignedBuffer<std::uint16_t> bright;
      bright.reserve(static_cast<std::size_t>(source.width));
      for (int y = begin; y < end; ++y) {
        luma256_row(source, y, bright.data());
        round_row(bright.data(), out.width, out.row(y));
      }
    });
    return;
  }
  static thread_local AxisTaps columns;
  static thread_local AxisTaps rows;
  columns.build(grid_to_source(out.width, spec.width, content.x, content.width, frame.width), out.width,
                frame.width, true);
  rows.build(grid_to_source(out.height, spec.height, content.y, content.height, frame.height), out.height,
             frame.height, true);
  pool.parallel_for(out.height, 8, [&columns = columns, &rows = rows, &source, &out](int begin, int end) {
    resample_rows(source, columns, rows, out, begin, end);
  });
}

}  // namespace stpl_rt
