// Dense inverse search (DIS): optical flow from overlapping patches, coarse to fine.
//
// Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016, without the
// variational refinement.
#pragma once

#include <cstdint>
#include <vector>

#include "core/image.h"
#include "core/thread_pool.h"
#include "ops/compose.h"

namespace stpl_rt {

struct DisOptions {
  int finest_scale = 2;  // pyramid level at which the search ends; 0 is the full size
  int patch_size = 8;    // pixels of a level
  int patch_stride = 4;  // pixels of a level between patches
  int iterations = 12;   // gradient steps a patch and level, half of them before the neighbours are asked
};

// Keeps its buffers from call to call. The result does not depend on the number of threads.
class DisFlow {
 public:
  // Throws Error(invalid_argument) for options out of range.
  explicit DisFlow(const DisOptions& options = {});

  // Flow of `current` into `past` (luma of one size) on the full grid; `out` is resized. Images too small for
  // one patch get zero flow.
  void compute(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past, FlowField& out,
               ThreadPool& pool);

 private:
  struct Level {
    Image<float> current;
    Image<float> past;
    FlowField flow;
  };
  // One position of the patch grid: its flow, and the cost found for it.
  struct Patch {
    float u, v, cost;
  };

  void build_levels(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past, int coarsest,
                    ThreadPool& pool);
  void search(const Level& level, const FlowField* coarser, ThreadPool& pool);

  DisOptions options_;
  std::vector<Level> levels_;  // from finest_scale on
  std::vector<Patch> patches_;
  std::vector<Patch> next_;
};

}  // namespace stpl_rt
