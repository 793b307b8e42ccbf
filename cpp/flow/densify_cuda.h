// densify.h on the GPU. All addresses are the device's; everything is enqueued.
#pragma once

#include "core/cuda/handles.h"
#include "flow/patch_search.h"
#include "ops/flow_cuda.h"

namespace stpl_rt::cuda {

// `out` has the level's size.
void densify(const PatchGrid& grid, const PatchFlow* patches, const FlowPlanes& out, StreamHandle stream);

// `out`: the full grid; `scale` a power of two.
void upsample(const ConstFlowPlanes& level, int scale, const FlowPlanes& out, StreamHandle stream);

}  // namespace stpl_rt::cuda
