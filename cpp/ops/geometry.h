// How output pixels, the network's input, its logits and the flow grid lie on each other.
#pragma once

#include <stpl_rt/bundle.h>

#include "core/image.h"
#include "core/simd.h"

namespace stpl_rt {

// One axis: to = scale * from + offset, in pixel indices (pixel centres at whole numbers).
struct AxisMap {
  float scale = 1.F;
  float offset = 0.F;
  STPL_RT_INLINE float operator()(float x) const { return scale * x + offset; }
};

// Grids of n_from and n_to pixels that cover the same extent, edge to edge ("half-pixel" rule).
AxisMap map_edges(double n_from, double n_to);
// The same with the centres of the outermost pixels on each other; 0 everywhere where one grid has one pixel.
AxisMap map_corners(double n_from, double n_to);

struct Rect {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
};

// Where the whole frame lies in the network's input: everywhere (stretch), or in the largest centred
// rectangle of the frame's aspect (letterbox).
Rect content_rect(Size frame, const InputSpec& spec);

// All that sample_argmax needs to know. Output pixels go to network-input pixels, where the flow
// displaces them, and from there to logits. With zero flow it equals
// torch interpolate(logits, output size, mode="bilinear", align_corners) for resize "stretch".
struct Geometry {
  Size output;
  Size input;
  Size logits;
  bool align_corners = false;
  AxisMap x, y;                      // output pixel → input pixel
  AxisMap to_logits_x, to_logits_y;  // input pixel → logits pixel
  // The input coordinates that show the frame; displaced positions are clamped to them.
  float min_x = 0, max_x = 0, min_y = 0, max_y = 0;
};

Geometry make_geometry(Size frame, const InputSpec& input, const LogitsSpec& logits);

// The same with the logits' own grid in the place of the output; what `frame` says of the input stays.
Geometry make_logits_geometry(const Geometry& frame);

// The flow grid covers the network's input edge to edge: input pixel → flow pixel.
struct FlowGeometry {
  AxisMap x, y;
  float scale_x = 1, scale_y = 1;  // flow vectors times this are in input pixels
};

FlowGeometry make_flow_geometry(Size input, Size flow);

// One axis of the way from a pixel of a grid that covers the input to one of a grid that covers the frame,
// which fills n_content pixels of the input from content_begin on.
struct FrameGridMap {
  FrameGridMap(int n_grid, int n_input, int content_begin, int n_content, int n_flow);
  AxisMap to_input;
  AxisMap to_flow;
  float vector_scale;  // flow vectors times this are in pixels of the first grid
};

}  // namespace stpl_rt
