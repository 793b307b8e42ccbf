// patch_search.h on the GPU: a warp a patch. All addresses are the device's; everything is enqueued.
#pragma once

#include "core/cuda/handles.h"
#include "flow/patch_search.h"

namespace stpl_rt::cuda {

void start_patches(const PatchGrid& grid, const CoarserFlow& coarser, int steps, PatchFlow* out,
                   StreamHandle stream);
void improve_patches(const PatchGrid& grid, const PatchFlow* in, int steps, PatchFlow* out,
                     StreamHandle stream);
void smooth_patches(const PatchGrid& grid, const PatchFlow* in, PatchFlow* out, StreamHandle stream);

}  // namespace stpl_rt::cuda
