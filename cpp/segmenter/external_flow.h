// Checks of optical flow that comes from outside.
#pragma once

#include <stpl_rt/flow.h>

namespace stpl_rt {

// Throws Error(invalid_argument) unless the view can be read and every vector is finite and no longer than
// any frame is wide: a few NaN would otherwise spread through the composed flow until the next key frame.
void check_external_flow(const FlowView& flow);

}  // namespace stpl_rt
