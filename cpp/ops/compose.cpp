#include "ops/compose.h"

#include <algorithm>
#include <string>

#include "ops/frame_rows.h"
#include "ops/geometry.h"
#include "ops/linear_row.h"
#include "ops/row_positions.h"

namespace stpl_rt {
namespace {

void check_same(const char* what, Size expected, Size found) {
  if (expected == found && found.width > 0 && found.height > 0) return;
  const auto text = [](Size s) { return std::to_string(s.width) + "x" + std::to_string(s.height); };
  throw Error(ErrorCode::invalid_argument, std::string(what) + ": expected one size of at least 1x1, found " +
                                               text(expected) + " and " + text(found));
}

STPL_RT_MULTIVERSION
void compose_row(const float* dx, const float* dy, const float* past_dx, const float* past_dy, int stride,
                 int right, int down, const RowPositions& positions, int width, float* out_dx,
                 float* out_dy) {
  const RowPositions at = positions;
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const int offset = at.index_y[x] * stride + at.index_x[x];
    const float wx = at.weight_x[x];
    const float wy = at.weight_y[x];
    out_dx[x] = dx[x] + read_bilinear(past_dx + offset, right, down, wx, wy);
    out_dy[x] = dy[x] + read_bilinear(past_dy + offset, right, down, wx, wy);
  }
}

// From interleaved vectors to planes.
STPL_RT_MULTIVERSION
void split_row(const float* vectors, int width, float* dx, float* dy) {
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    dx[x] = vectors[2 * x];
    dy[x] = vectors[2 * x + 1];
  }
}

STPL_RT_MULTIVERSION
void scale_row(const float* row, float scale, int width, float* out) {
#pragma omp simd
  for (int x = 0; x < width; ++x) out[x] = row[x] * scale;
}

struct FlowRows {
  explicit FlowRows(const FlowView& flow)
      : data(flow.data), height(flow.height), stride(checked_stride(flow)) {}
  [[nodiscard]] const float* row(int y) const { return data + y * stride; }
  const float* data;
  int height;
  std::ptrdiff_t stride;
};

}  // namespace

std::ptrdiff_t checked_stride(const FlowView& flow) {
  const std::ptrdiff_t stride = flow.stride != 0 ? flow.stride : std::ptrdiff_t{2} * flow.width;
  if (flow.data != nullptr && flow.width >= 1 && flow.height >= 1 &&
      reaches(stride, std::ptrdiff_t{2} * flow.width)) {
    return stride;
  }
  throw Error(ErrorCode::invalid_argument,
              "flow: expected data of at least 1x1 and rows of at least 2 * width, found " +
                  std::to_string(flow.width) + "x" + std::to_string(flow.height) + ", stride " +
                  std::to_string(stride));
}

void read_flow(const FlowView& flow, Size frame, const InputSpec& spec, FlowField& out, ThreadPool& pool) {
  const FlowRows source(flow);
  check_same("read_flow: planes", out.dx.size(), out.dy.size());
  const Rect content = content_rect(frame, spec);
  const bool covered = content.width == spec.width && content.height == spec.height;
  if (covered && out.size() == Size{flow.width, flow.height}) {
    pool.parallel_for(flow.height, 16, [&](int begin, int end) {
      for (int y = begin; y < end; ++y) split_row(source.row(y), flow.width, out.dx.row(y), out.dy.row(y));
    });
    return;
  }
  const FrameGridMap map_x(out.width(), spec.width, content.x, content.width, flow.width);
  const FrameGridMap map_y(out.height(), spec.height, content.y, content.height, flow.height);
  static thread_local RowTaps columns_of_caller;
  RowTaps& columns = columns_of_caller;
  columns.build(map_x.to_input, map_x.to_flow, out.width(), flow.width);
  pool.parallel_for(out.height(), 8, [&](int begin, int end) {
    static thread_local AlignedBuffer<float> buffer;
    const int rounded = (out.width() + 15) / 16 * 16;  // expand() writes whole blocks
    buffer.reserve(4 * static_cast<std::size_t>(flow.width) + static_cast<std::size_t>(rounded));
    float* vectors = buffer.data();
    float* dx = vectors + 2 * static_cast<std::ptrdiff_t>(flow.width);
    float* dy = dx + flow.width;
    float* expanded = dy + flow.width;
    for (int y = begin; y < end; ++y) {
      const LinearTap tap = linear_tap(map_y.to_flow(map_y.to_input(static_cast<float>(y))), flow.height);
      const int below = std::min(tap.index + 1, flow.height - 1);
      mix_rows(source.row(tap.index), source.row(below), tap.weight, 2 * flow.width, vectors);
      split_row(vectors, flow.width, dx, dy);
      columns.expand(dx, 0, out.width(), expanded);
      scale_row(expanded, map_x.vector_scale, out.width(), out.dx.row(y));
      columns.expand(dy, 0, out.width(), expanded);
      scale_row(expanded, map_y.vector_scale, out.width(), out.dy.row(y));
    }
  });
}

void compose(const FlowField& latest, const FlowField& past, FlowField& out, ThreadPool& pool) {
  check_same("compose: flow", latest.size(), past.size());
  if (&out == &past) throw Error(ErrorCode::internal, "compose: the output must not be the past flow");
  const Size size = latest.size();
  out.resize(size.width, size.height);
  const ReadSteps<const float> steps(past.dx.cview());
  const int stride = static_cast<int>(past.dx.stride());
  pool.parallel_for(size.height, 8, [&](int begin, int end) {
    const RowPositions at = RowPositions::make(size.width);
    for (int y = begin; y < end; ++y) {
      locate_row(latest.dx.row(y), latest.dy.row(y), y, size, at);
      compose_row(latest.dx.row(y), latest.dy.row(y), past.dx.row(0), past.dy.row(0), stride, steps.right,
                  steps.down, at, size.width, out.dx.row(y), out.dy.row(y));
    }
  });
}

}  // namespace stpl_rt
