#include "core/cuda/stream.h"
#include "ops/preprocess.h"
#include "ops/preprocess_cuda.h"

namespace stpl_rt::cuda {
namespace {

template <class T>
T* copy_to(DeviceBuffer<T>& buffer, const T* from, std::size_t count, StreamHandle stream) {
  buffer.reserve(count);
  copy(buffer.data(), from, count, stream);
  return buffer.data();
}

}  // namespace

void DeviceTaps::assign(const AxisTaps& taps, StreamHandle stream) {
  const auto outputs = static_cast<std::size_t>(taps.outputs());
  const auto weights = outputs * static_cast<std::size_t>(taps.count());
  view_ = {copy_to(first_, taps.first(), outputs, stream),
           copy_to(weights_, taps.weights(0), weights, stream), taps.count(), taps.outputs()};
}

void FramePlan::prepare(Size frame, const InputSpec& spec, Size luma_grid, StreamHandle stream) {
  check_input(spec);
  check_luma(spec, luma_grid);
  const Rect content = content_rect(frame, spec);
  const bool area = spec.filter == ResizeFilter::area;
  AxisTaps columns, rows, luma_columns, luma_rows;
  columns.build(content_to_source(content.width, frame.width), content.width, frame.width, area);
  rows.build(content_to_source(content.height, frame.height), content.height, frame.height, area);
  luma_columns.build(grid_to_source(luma_grid.width, spec.width, content.x, content.width, frame.width),
                     luma_grid.width, frame.width, true);
  luma_rows.build(grid_to_source(luma_grid.height, spec.height, content.y, content.height, frame.height),
                  luma_grid.height, frame.height, true);
  columns_.assign(columns, stream);
  rows_.assign(rows, stream);
  luma_columns_.assign(luma_columns, stream);
  luma_rows_.assign(luma_rows, stream);

  view_ = {frame,        {spec.width, spec.height}, luma_grid,        content, {}, nullptr, columns_.view(),
           rows_.view(), luma_columns_.view(),      luma_rows_.view()};
  for (int p = 0; p < 3; ++p) {
    const int colour = spec.color_order == ColorOrder::bgr ? 2 - p : p;
    view_.planes[p] = {colour, spec.mean[p], 1.F / spec.std[p]};
  }
  if (spec.lut) view_.lut = copy_to(lut_, (*spec.lut)[0].data(), sizeof(*spec.lut), stream);
  Stream::wait_for(stream);
}

}  // namespace stpl_rt::cuda
