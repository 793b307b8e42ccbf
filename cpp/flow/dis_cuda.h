// dis.h on the GPU: the same search, round by round.
#pragma once

#include <array>

#include "core/cuda/handles.h"
#include "core/cuda/memory.h"
#include "flow/dis.h"
#include "flow/patch_search.h"
#include "flow/pyramid_cuda.h"
#include "ops/flow_cuda.h"

namespace stpl_rt::cuda {

class DisFlow {
 public:
  // Throws Error(invalid_argument) for options out of range.
  explicit DisFlow(const DisOptions& options = {});

  // Memory for images of this size; allocates where it must grow. The pyramids that compute() takes are to be
  // prepared for the same layout.
  void prepare(Size image);
  [[nodiscard]] PyramidLayout layout(Size image) const noexcept { return pyramid_layout(options_, image); }

  // Flow of `current` into `past` on the full grid. Enqueues; neither waits nor allocates. One call at a
  // time: the memory between the steps is this object's. Throws Error(invalid_argument) for pyramids or an
  // output that were not prepared for the same size.
  void compute(const Pyramid& current, const Pyramid& past, const FlowPlanes& out, StreamHandle stream);

 private:
  [[nodiscard]] PatchGrid grid_of(const Pyramid& current, const Pyramid& past, int level) const;
  void search_level(const PatchGrid& grid, const CoarserFlow& coarser, const FlowPlanes& out,
                    StreamHandle stream);

  DisOptions options_;
  PyramidLayout prepared_;
  std::array<DeviceBuffer<PatchFlow>, 2> patches_;
  std::array<DeviceFlow, 2> flow_;  // of even levels, and of odd ones
};

}  // namespace stpl_rt::cuda
