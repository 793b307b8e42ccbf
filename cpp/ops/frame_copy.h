// Copies of what a caller lends, for work that goes on after the call.
#pragma once

#include <stpl_rt/flow.h>
#include <stpl_rt/frame.h>

#include <cstdint>

#include "core/image.h"

namespace stpl_rt {

// The same frame in `memory`, dense. Throws Error(invalid_argument) for a frame that cannot be read.
Frame copy_frame(const Frame& frame, AlignedBuffer<std::uint8_t>& memory);
// The same for flow whose view has been checked.
FlowView copy_flow(const FlowView& flow, AlignedBuffer<float>& memory);

}  // namespace stpl_rt
