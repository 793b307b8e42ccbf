#include <string>

#include "core/cuda/launch.h"
#include "ops/compose.h"
#include "ops/compose_cuda.h"
#include "ops/geometry.h"
#include "ops/reads_cuda.h"
#include "ops/validity.h"

namespace stpl_rt::cuda {
namespace {

void check_size(const char* what, Size expected, Size found) {
  if (expected == found && found.width > 0 && found.height > 0) return;
  const auto text = [](Size s) { return std::to_string(s.width) + "x" + std::to_string(s.height); };
  throw Error(ErrorCode::invalid_argument, std::string(what) + ": expected one size of at least 1x1, found " +
                                               text(expected) + " and " + text(found));
}

void check_planes(const char* what, Size expected, const ConstFlowPlanes& planes) {
  check_size(what, expected, planes.dx.size());
  check_size(what, expected, planes.dy.size());
}

// Vectors on the device were seen by nobody: those that lead nowhere lead out of the picture.
STPL_RT_KERNEL float sound(float length) {
  constexpr float kFar = kMaxSide;
  return length >= -kFar && length <= kFar ? length : kFar;
}

struct ReadFlow {
  const float* vectors;
  Size size;
  std::ptrdiff_t stride;
  FrameGridMap map_x, map_y;
  bool copies;
  FlowPlanes out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    if (copies) {
      const float* vector = vectors + y * stride + 2 * static_cast<std::ptrdiff_t>(x);
      out.dx.row(y)[x] = sound(vector[0]);
      out.dy.row(y)[x] = sound(vector[1]);
      return;
    }
    const LinearTap column = linear_tap(map_x.to_flow(map_x.to_input(static_cast<float>(x))), size.width);
    const LinearTap row = linear_tap(map_y.to_flow(map_y.to_input(static_cast<float>(y))), size.height);
    const float* upper = vectors + row.index * stride + 2 * static_cast<std::ptrdiff_t>(column.index);
    const float* lower = upper + (size.height > 1 ? stride : 0);
    const int right = size.width > 1 ? 2 : 0;
    const auto read = [&](int axis) {
      return mix(mix(sound(upper[axis]), sound(lower[axis]), row.weight),
                 mix(sound(upper[right + axis]), sound(lower[right + axis]), row.weight), column.weight);
    };
    out.dx.row(y)[x] = read(0) * map_x.vector_scale;
    out.dy.row(y)[x] = read(1) * map_y.vector_scale;
  }
};

struct Compose {
  ConstFlowPlanes latest, past;
  FlowPlanes out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const float dx = latest.dx.row(y)[x];
    const float dy = latest.dy.row(y)[x];
    const ReadPosition at = displaced(x, y, dx, dy, past.size());
    out.dx.row(y)[x] = dx + at.read(past.dx);
    out.dy.row(y)[x] = dy + at.read(past.dy);
  }
};

struct Validity {
  ImageView<const std::uint8_t> current, past;
  ConstFlowPlanes latest;
  ImageView<const float> past_validity;
  ConstFlowPlanes composed;
  ImageView<float> out;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const Size size = latest.size();
    const ReadPosition at = displaced(x, y, latest.dx.row(y)[x], latest.dy.row(y)[x], size);
    const float carried = past_validity.empty() ? 1.F : at.read(past_validity);
    const float difference = static_cast<float>(current.row(y)[x]) - at.read(past);
    const float residual = difference < 0.F ? -difference : difference;
    const float outside_x =
        distance_outside(static_cast<float>(x) + composed.dx.row(y)[x], static_cast<float>(size.width - 1));
    const float outside_y =
        distance_outside(static_cast<float>(y) + composed.dy.row(y)[x], static_cast<float>(size.height - 1));
    out.row(y)[x] = pixel_validity(carried, residual, outside_x, outside_y, divergence(x, y));
  }

 private:
  // Central differences, one-sided at the border.
  STPL_RT_KERNEL float divergence(int x, int y) const {
    const Size size = latest.size();
    const int left = x > 0 ? x - 1 : 0;
    const int right = x < size.width - 1 ? x + 1 : x;
    const int above = y > 0 ? y - 1 : 0;
    const int below = y < size.height - 1 ? y + 1 : y;
    return slope(latest.dx.row(y)[left], latest.dx.row(y)[right], right - left) +
           slope(latest.dy.row(above)[x], latest.dy.row(below)[x], below - above);
  }
  STPL_RT_KERNEL static float slope(float from, float to, int apart) {
    return apart > 0 ? (to - from) * (1.F / static_cast<float>(apart)) : 0.F;
  }
};

struct CheckReturn {
  ConstFlowPlanes latest, back;
  ImageView<float> validity;

  STPL_RT_KERNEL void operator()(int x, int y) const {
    const float dx = latest.dx.row(y)[x];
    const float dy = latest.dy.row(y)[x];
    const ReadPosition at = displaced(x, y, dx, dy, latest.size());
    float& valid = validity.row(y)[x];
    valid = smaller(valid, pixel_return(dx, dy, at.read(back.dx), at.read(back.dy)));
  }
};

}  // namespace

void read_flow(const FlowView& flow, Size frame, const InputSpec& spec, const FlowPlanes& out,
               StreamHandle stream) {
  const std::ptrdiff_t stride = checked_stride(flow);
  const Size grid = out.dx.size();
  check_planes("read_flow: planes", grid, out);
  const Rect content = content_rect(frame, spec);
  const bool covered = content.width == spec.width && content.height == spec.height;
  const Size size = {flow.width, flow.height};
  for_each_pixel(ReadFlow{flow.data, size, stride,
                          FrameGridMap(grid.width, spec.width, content.x, content.width, flow.width),
                          FrameGridMap(grid.height, spec.height, content.y, content.height, flow.height),
                          covered && grid == size, out},
                 grid, stream);
}

void compose(const ConstFlowPlanes& latest, const ConstFlowPlanes& past, const FlowPlanes& out,
             StreamHandle stream) {
  check_planes("compose: past flow", latest.size(), past);
  check_planes("compose: output", latest.size(), out);
  if (out.dx.data == past.dx.data || out.dy.data == past.dy.data) {
    throw Error(ErrorCode::internal, "compose: the output must not be the past flow");
  }
  for_each_pixel(Compose{latest, past, out}, latest.size(), stream);
}

void validity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
              const ConstFlowPlanes& latest, ImageView<const float> past_validity,
              const ConstFlowPlanes& composed, ImageView<float> out, StreamHandle stream) {
  const Size size = latest.size();
  check_size("validity: current luma", size, current.size());
  check_size("validity: past luma", size, past.size());
  check_planes("validity: composed flow", size, composed);
  check_size("validity: output", size, out.size());
  if (!past_validity.empty()) check_size("validity: past validity", size, past_validity.size());
  if (past_validity.data == out.data) {
    throw Error(ErrorCode::internal, "validity: the output must not be the past validity");
  }
  for_each_pixel(Validity{current, past, latest, past_validity, composed, out}, size, stream);
}

void check_return(const ConstFlowPlanes& latest, const ConstFlowPlanes& back, ImageView<float> validity,
                  StreamHandle stream) {
  check_planes("check_return: flow back", latest.size(), back);
  check_size("check_return: validity", latest.size(), validity.size());
  for_each_pixel(CheckReturn{latest, back, validity}, latest.size(), stream);
}

}  // namespace stpl_rt::cuda
