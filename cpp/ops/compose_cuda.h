// compose.h on the GPU. All addresses are the device's; everything is enqueued, nothing waits, nothing is
// allocated.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/flow.h>

#include <cstdint>

#include "core/cuda/handles.h"
#include "ops/flow_cuda.h"

namespace stpl_rt::cuda {

// `flow`: the device's. All throw Error(invalid_argument) for sizes that do not belong together.
void read_flow(const FlowView& flow, Size frame, const InputSpec& spec, const FlowPlanes& out,
               StreamHandle stream);

// `out` may be `latest`, never `past`.
void compose(const ConstFlowPlanes& latest, const ConstFlowPlanes& past, const FlowPlanes& out,
             StreamHandle stream);

// `past_validity` empty: 1 everywhere. `out` must not be `past_validity`.
void validity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
              const ConstFlowPlanes& latest, ImageView<const float> past_validity,
              const ConstFlowPlanes& composed, ImageView<float> out, StreamHandle stream);

void check_return(const ConstFlowPlanes& latest, const ConstFlowPlanes& back, ImageView<float> validity,
                  StreamHandle stream);

}  // namespace stpl_rt::cuda
