#include "flow/dis_cuda.h"

#include <string>
#include <utility>

#include "flow/densify_cuda.h"
#include "flow/patch_search_cuda.h"

namespace stpl_rt::cuda {
namespace {

// The first part of planes that have room for every level.
FlowPlanes cut(const DeviceFlow& flow, Size size) {
  FlowPlanes planes = flow.planes();
  for (ImageView<float>* plane : {&planes.dx, &planes.dy}) {
    plane->width = size.width;
    plane->height = size.height;
  }
  return planes;
}

std::string text(Size size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

}  // namespace

DisFlow::DisFlow(const DisOptions& options) : options_(options) { check_options(options); }

void DisFlow::prepare(Size image) {
  const PyramidLayout shape = layout(image);
  if (shape.coarsest >= shape.finest) {
    const Size finest = {image.width >> shape.finest, image.height >> shape.finest};
    const auto count = [&](int extent) {
      return static_cast<std::size_t>(patch_count(extent, options_.patch_size, options_.patch_stride));
    };
    for (DeviceBuffer<PatchFlow>& patches : patches_) {
      patches.reserve(count(finest.width) * count(finest.height));
    }
    for (DeviceFlow& flow : flow_) flow.resize(finest.width, finest.height);
  }
  prepared_ = shape;
}

void DisFlow::compute(const Pyramid& current, const Pyramid& past, const FlowPlanes& out,
                      StreamHandle stream) {
  const PyramidLayout& shape = prepared_;
  if (current.layout() != shape || past.layout() != shape || out.dx.size() != shape.image ||
      out.dy.size() != shape.image) {
    throw Error(ErrorCode::invalid_argument,
                "flow: expected pyramids and planes prepared for " + text(shape.image) + ", found " +
                    text(current.layout().image) + ", " + text(past.layout().image) + " and " +
                    text(out.dx.size()) + ", or other options");
  }
  if (shape.coarsest < shape.finest) {
    fill_zero(out.dx, stream);
    fill_zero(out.dy, stream);
    return;
  }
  CoarserFlow coarser;
  for (int level = shape.coarsest; level >= shape.finest; --level) {
    const PatchGrid grid = grid_of(current, past, level);
    const FlowPlanes flow = cut(flow_[level % 2], grid.current.size());
    search_level(grid, coarser, flow, stream);
    coarser = {flow.dx, flow.dy};
  }
  upsample({coarser.dx, coarser.dy}, 1 << shape.finest, out, stream);
}

PatchGrid DisFlow::grid_of(const Pyramid& current, const Pyramid& past, int level) const {
  return {current.level(level), past.level(level), prepared_.border, options_.patch_size,
          options_.patch_stride};
}

void DisFlow::search_level(const PatchGrid& grid, const CoarserFlow& coarser, const FlowPlanes& out,
                           StreamHandle stream) {
  PatchFlow* patches = patches_[0].data();
  PatchFlow* next = patches_[1].data();
  for (int round = 0; round < kRounds; ++round) {
    const int steps = steps_of_round(options_.iterations, round);
    if (round == 0) {
      start_patches(grid, coarser, steps, next, stream);
    } else {
      improve_patches(grid, patches, steps, next, stream);
    }
    std::swap(patches, next);
  }
  smooth_patches(grid, patches, next, stream);
  densify(grid, next, out, stream);
}

}  // namespace stpl_rt::cuda
