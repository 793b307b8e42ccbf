#include <string>

#include "core/cuda/launch.h"
#include "ops/frame_rows.h"
#include "ops/preprocess.h"
#include "ops/preprocess_cuda.h"
#include "ops/yuv.h"

namespace stpl_rt::cuda {
namespace {

// Pixels of the frame's memory, as the formats lay them.
struct InterleavedPixels {
  const std::uint8_t* data;
  std::ptrdiff_t stride;
  int red, blue;  // which byte holds them

  STPL_RT_KERNEL Rgb colours(int x, int y) const {
    const std::uint8_t* pixel = data + y * stride + 3 * static_cast<std::ptrdiff_t>(x);
    return {pixel[red], pixel[1], pixel[blue]};
  }
  STPL_RT_KERNEL int luma256(int x, int y) const {
    const Rgb rgb = colours(x, y);
    return stpl_rt::luma256(rgb.red, rgb.green, rgb.blue);
  }
};

struct GrayPixels {
  const std::uint8_t* data;
  std::ptrdiff_t stride;

  STPL_RT_KERNEL Rgb colours(int x, int y) const {
    const int value = data[y * stride + x];
    return {value, value, value};
  }
  STPL_RT_KERNEL int luma256(int x, int y) const {
    const int value = data[y * stride + x];
    return stpl_rt::luma256(value, value, value);
  }
};

struct YuvPixels {
  const std::uint8_t* data;
  std::ptrdiff_t stride;
  const std::uint8_t* cb;
  const std::uint8_t* cr;
  std::ptrdiff_t chroma_stride;
  int chroma_step;
  YuvWeights weights;

  STPL_RT_KERNEL Rgb colours(int x, int y) const {
    const std::ptrdiff_t at = (y >> 1) * chroma_stride + (x >> 1) * chroma_step;
    return yuv_to_rgb(data[y * stride + x], cb[at], cr[at], weights);
  }
  // The frame's own luma, stretched to 0 to 255 where it leaves room at both ends.
  STPL_RT_KERNEL int luma256(int x, int y) const {
    return 256 * yuv_byte(weights.scale * (data[y * stride + x] - weights.black));
  }
};

// Calls use(pixels) with those of the frame's format.
template <class Use>
void with_pixels(const Frame& frame, const FramePlan& plan, Use&& use) {
  const FrameRows rows(frame);
  const Size expected = plan.view().frame;
  if (expected != Size{frame.width, frame.height}) {
    throw Error(ErrorCode::invalid_argument, "frame: expected " + std::to_string(expected.width) + "x" +
                                                 std::to_string(expected.height) +
                                                 ", as prepared for, found " + std::to_string(frame.width) +
                                                 "x" + std::to_string(frame.height));
  }
  if (is_yuv(frame.format)) {
    const int step = frame.format == PixelFormat::nv12 ? 2 : 1;
    use(YuvPixels{rows.data, rows.stride, rows.chroma, rows.chroma_cr, rows.chroma_stride, step,
                  yuv_weights(frame.encoding)});
  } else if (rows.channels == 1) {
    use(GrayPixels{rows.data, rows.stride});
  } else {
    use(InterleavedPixels{rows.data, rows.stride, rows.byte_of(0), rows.byte_of(2)});
  }
}

template <class T, class Pixels>
struct Preprocess {
  Pixels pixels;
  FramePlan::View plan;
  T* out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const int column = x - plan.content.x;
    const int row = y - plan.content.y;
    const bool inside = column >= 0 && row >= 0 && column < plan.content.width && row < plan.content.height;
    float value[3] = {};
    if (inside) resample(column, row, value);
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(plan.input.width) * plan.input.height;
    T* pixel = out + static_cast<std::ptrdiff_t>(y) * plan.input.width + x;
#pragma unroll
    for (int p = 0; p < 3; ++p) {
      const FramePlan::Plane& plane = plan.planes[p];
      const float colour = plane.colour == 0 ? value[0] : plane.colour == 1 ? value[1] : value[2];
      pixel[p * area] = from_float<T>(inside ? normalize(colour, plane.mean, plane.inverse_std) : 0.F);
    }
  }

 private:
  STPL_RT_KERNEL Rgb calibrated(int x, int y) const {
    const Rgb rgb = pixels.colours(x, y);
    if (plan.lut == nullptr) return rgb;
    return {plan.lut[rgb.red], plan.lut[256 + rgb.green], plan.lut[512 + rgb.blue]};
  }
  // As on the CPU: along columns of pixels first. What lies past the frame's end has weight 0, and is not
  // read.
  STPL_RT_KERNEL void resample(int column, int row, float* value) const {
    for (int i = 0; i < plan.columns.count; ++i) {
      const float across = plan.columns.weights[i * plan.columns.outputs + column];
      if (across == 0.F) continue;
      float red = 0.F, green = 0.F, blue = 0.F;
      for (int j = 0; j < plan.rows.count; ++j) {
        const float down = plan.rows.weights[j * plan.rows.outputs + row];
        if (down == 0.F) continue;
        const Rgb rgb = calibrated(plan.columns.first[column] + i, plan.rows.first[row] + j);
        red += down * static_cast<float>(rgb.red);
        green += down * static_cast<float>(rgb.green);
        blue += down * static_cast<float>(rgb.blue);
      }
      value[0] += red * across;
      value[1] += green * across;
      value[2] += blue * across;
    }
  }
};

template <class Pixels>
struct Luma {
  Pixels pixels;
  TapsView columns, rows;
  ImageView<std::uint8_t> out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    float sum = 0.F;
    for (int i = 0; i < columns.count; ++i) {
      const float across = columns.weights[i * columns.outputs + x];
      if (across == 0.F) continue;
      float bright = 0.F;
      for (int j = 0; j < rows.count; ++j) {
        const float down = rows.weights[j * rows.outputs + y];
        if (down == 0.F) continue;
        bright += down * static_cast<float>(pixels.luma256(columns.first[x] + i, rows.first[y] + j));
      }
      sum += bright * across;
    }
    out.row(y)[x] = static_cast<std::uint8_t>(static_cast<int>(sum * (1.F / 256.F) + 0.5F));
  }
};

}  // namespace

template <class T>
void preprocess(const Frame& frame, const FramePlan& plan, T* out, StreamHandle stream) {
  with_pixels(frame, plan, [&]<class Pixels>(const Pixels& pixels) {
    for_each_pixel(Preprocess<T, Pixels>{pixels, plan.view(), out}, plan.view().input, stream);
  });
}

template void preprocess(const Frame&, const FramePlan&, float*, StreamHandle);
template void preprocess(const Frame&, const FramePlan&, Half*, StreamHandle);

void luma(const Frame& frame, const FramePlan& plan, ImageView<std::uint8_t> out, StreamHandle stream) {
  if (out.empty() || out.size() != plan.view().grid) {
    throw Error(ErrorCode::invalid_argument, "luma: expected a grid of the size prepared for, found " +
                                                 std::to_string(out.width) + "x" +
                                                 std::to_string(out.height));
  }
  with_pixels(frame, plan, [&]<class Pixels>(const Pixels& pixels) {
    for_each_pixel(Luma<Pixels>{pixels, plan.view().luma_columns, plan.view().luma_rows, out}, out.size(),
                   stream);
  });
}

}  // namespace stpl_rt::cuda
