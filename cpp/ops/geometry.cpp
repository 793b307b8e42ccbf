#include "ops/geometry.h"

#include <algorithm>
#include <cmath>

namespace stpl_rt {
namespace {

// Shifts the target's origin: the content does not begin at the input's first pixel.
AxisMap shifted(AxisMap map, int by) { return {map.scale, map.offset + static_cast<float>(by)}; }

AxisMap map_axis(int from, int to, bool align_corners) {
  return align_corners ? map_corners(from, to) : map_edges(from, to);
}

}  // namespace

AxisMap map_edges(double n_from, double n_to) {
  const double scale = n_to / n_from;
  return {static_cast<float>(scale), static_cast<float>(0.5 * scale - 0.5)};
}

AxisMap map_corners(double n_from, double n_to) {
  return {n_from > 1 ? static_cast<float>((n_to - 1) / (n_from - 1)) : 0.F, 0.F};
}

Rect content_rect(Size frame, const InputSpec& spec) {
  if (spec.resize == ResizeMode::stretch) return {0, 0, spec.width, spec.height};
  const double scale = std::min(static_cast<double>(spec.width) / frame.width,
                                static_cast<double>(spec.height) / frame.height);
  const int width = std::clamp(static_cast<int>(std::lround(frame.width * scale)), 1, spec.width);
  const int height = std::clamp(static_cast<int>(std::lround(frame.height * scale)), 1, spec.height);
  return {(spec.width - width) / 2, (spec.height - height) / 2, width, height};
}

Geometry make_geometry(Size frame, const InputSpec& input, const LogitsSpec& logits) {
  const Rect content = content_rect(frame, input);
  Geometry g;
  g.output = frame;
  g.input = {input.width, input.height};
  g.logits = {logits.width, logits.height};
  g.align_corners = logits.align_corners;
  g.x = shifted(map_axis(frame.width, content.width, g.align_corners), content.x);
  g.y = shifted(map_axis(frame.height, content.height, g.align_corners), content.y);
  g.to_logits_x = map_axis(input.width, logits.width, g.align_corners);
  g.to_logits_y = map_axis(input.height, logits.height, g.align_corners);
  // Half a pixel past the outermost centres is the frame's very edge.
  g.min_x = static_cast<float>(content.x) - 0.5F;
  g.max_x = static_cast<float>(content.x + content.width) - 0.5F;
  g.min_y = static_cast<float>(content.y) - 0.5F;
  g.max_y = static_cast<float>(content.y + content.height) - 0.5F;
  return g;
}

Geometry make_logits_geometry(const Geometry& frame) {
  Geometry g = frame;
  g.output = frame.logits;
  g.x = map_axis(frame.logits.width, frame.input.width, frame.align_corners);
  g.y = map_axis(frame.logits.height, frame.input.height, frame.align_corners);
  return g;
}

FrameGridMap::FrameGridMap(int n_grid, int n_input, int content_begin, int n_content, int n_flow)
    : to_input(map_edges(n_grid, n_input)),
      to_flow(map_edges(n_content, n_flow)),
      vector_scale(static_cast<float>(n_content) / static_cast<float>(n_flow) * static_cast<float>(n_grid) /
                   static_cast<float>(n_input)) {
  to_flow.offset -= static_cast<float>(content_begin) * to_flow.scale;
}

FlowGeometry make_flow_geometry(Size input, Size flow) {
  return {map_edges(input.width, flow.width), map_edges(input.height, flow.height),
          static_cast<float>(input.width) / static_cast<float>(flow.width),
          static_cast<float>(input.height) / static_cast<float>(flow.height)};
}

}  // namespace stpl_rt
