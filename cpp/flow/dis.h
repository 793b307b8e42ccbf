// Dense inverse search (DIS): optical flow from overlapping patches, coarse to fine.
//
// Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016, without the
// variational refinement.
#pragma once

#include <cstdint>
#include <vector>

#include "core/image.h"
#include "core/thread_pool.h"
#include "flow/dis_arithmetic.h"
#include "flow/pyramid.h"
#include "ops/compose.h"

namespace stpl_rt {

struct DisOptions {
  int finest_scale = 2;  // pyramid level at which the search ends, 0 (full size) to 6
  int patch_size = 8;    // pixels of a level, 4 to 32
  int patch_stride = 4;  // pixels of a level between patches, 1 to patch_size
  int iterations = 12;   // gradient steps a patch and level at most, 1 to 1000
};

// Throws Error(invalid_argument) for options out of range.
void check_options(const DisOptions& options);

// The levels that flow between images of this size is searched on.
PyramidLayout pyramid_layout(const DisOptions& options, Size image) noexcept;

// Keeps its buffers from call to call. The result does not depend on the number of threads.
class DisFlow {
 public:
  // Throws Error(invalid_argument) for options out of range.
  explicit DisFlow(const DisOptions& options = {});

  // Flow of `current` into `past` (luma of one size) on the full grid; `out` is resized. Images too small for
  // one patch get zero flow.
  void compute(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past, FlowField& out,
               ThreadPool& pool);

  // The same from pyramids that build() made: a stream builds each frame's once. Throws
  // Error(invalid_argument) if they are of different sizes or options.
  void compute(const Pyramid& current, const Pyramid& past, FlowField& out, ThreadPool& pool);
  void build(ImageView<const std::uint8_t> image, Pyramid& out, ThreadPool& pool) const;

 private:
  void search_level(const Pyramid& current, const Pyramid& past, int level, bool is_first, ThreadPool& pool);

  DisOptions options_;
  Pyramid current_;
  Pyramid past_;
  // Flow of the level under search, and of the one before.
  FlowField flow_;
  FlowField coarser_;
  Image<float> weight_;
  std::vector<PatchFlow> patches_;
  std::vector<PatchFlow> next_;
};

}  // namespace stpl_rt
