#include "core/cuda/launch.h"
#include "ops/reads_cuda.h"
#include "ops/similarity_cuda.h"

namespace stpl_rt::cuda {
namespace {

// A warp a block, a lane a pixel.
struct CompareBlocks {
  ImageView<const std::uint8_t> current, past;
  ConstFlowPlanes flow;
  BlockSpread spread;
  BlockMoments* out;

  struct Sums {
    float a, aa;      // current
    float b, bb, ab;  // past along the flow
    float c, cc, ac;  // past in place
  };

  STPL_RT_KERNEL void operator()(const Warp& warp, int block, int /*y*/) const {
    constexpr int kAcross = BlockSpread::kBlock / BlockSpread::kSpacing;
    constexpr float kSamples = BlockSpread::kSamples;
    const Sums s = warp.sum<float, Sums>([&](int lane) {
      if (lane >= BlockSpread::kSamples) return Sums{};
      const int x = spread.left(block) + BlockSpread::kSpacing / 2 + lane % kAcross * BlockSpread::kSpacing;
      const int y = spread.top(block) + BlockSpread::kSpacing / 2 + lane / kAcross * BlockSpread::kSpacing;
      const float a = current.row(y)[x];
      const float b = displaced(x, y, flow.dx.row(y)[x], flow.dy.row(y)[x], past.size()).read(past);
      const float c = past.row(y)[x];
      return Sums{a, a * a, b, b * b, a * b, c, c * c, a * c};
    });
    warp.one(0, [&](int) {
      out[block] = {s.bb - s.b * s.b / kSamples, s.ab - s.a * s.b / kSamples, s.aa - s.a * s.a / kSamples,
                    s.cc - s.c * s.c / kSamples, s.ac - s.a * s.c / kSamples};
    });
  }
};

struct AddBlocks {
  const BlockMoments* blocks;
  int count;
  PairMoments* out;

  struct Sums {
    double past, both, current, in_place, both_in_place;
  };

  STPL_RT_KERNEL void operator()(const Warp& warp, int /*x*/, int /*y*/) const {
    const Sums s = warp.sum<double, Sums>([&](int lane) {
      Sums own{};
      for (int i = lane; i < count; i += kWarpLanes) {
        own.past += blocks[i].past;
        own.both += blocks[i].both;
        own.current += blocks[i].current;
        own.in_place += blocks[i].in_place;
        own.both_in_place += blocks[i].both_in_place;
      }
      return own;
    });
    warp.one(0, [&](int) {
      out->along_flow = {s.current, s.past, s.both};
      out->in_place = {s.current, s.in_place, s.both_in_place};
    });
  }
};

}  // namespace

void similarity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                const ConstFlowPlanes& flow, BlockMoments* scratch, PairMoments* out, StreamHandle stream) {
  if (past.size() != current.size() || flow.dx.size() != current.size() || flow.dy.size() != current.size()) {
    throw Error(ErrorCode::invalid_argument, "similarity: expected two images and flow of one size");
  }
  const BlockSpread spread(current.size());
  for_each_warp(CompareBlocks{current, past, flow, spread, scratch}, {spread.count, 1}, stream);
  for_each_warp(AddBlocks{scratch, spread.count, out}, {1, 1}, stream);
}

}  // namespace stpl_rt::cuda
