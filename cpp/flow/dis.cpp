#include "flow/dis.h"

#include <algorithm>
#include <string>
#include <utility>

#include "flow/densify.h"
#include "flow/lanes.h"
#include "flow/patch_search.h"

namespace stpl_rt {
namespace {

constexpr int kMaxFinestScale = 6;
constexpr int kMinPatchSize = 4;
constexpr int kMaxIterations = 1000;
constexpr int kRowGrain = 8;  // rows of pixels below which another thread costs more than it saves

void check_range(const char* name, int value, int low, int high) {
  if (value >= low && value <= high) return;
  throw Error(ErrorCode::invalid_argument, std::string("flow: expected ") + name + " from " +
                                               std::to_string(low) + " to " + std::to_string(high) +
                                               ", found " + std::to_string(value));
}

ImageView<float> level_view(Image<float>& plane, Size size) {
  return {plane.row(0), size.width, size.height, plane.stride()};
}

}  // namespace

void check_options(const DisOptions& options) {
  check_range("finest_scale", options.finest_scale, 0, kMaxFinestScale);
  check_range("patch_size", options.patch_size, kMinPatchSize, kMaxPatchSize);
  check_range("patch_stride", options.patch_stride, 1, options.patch_size);
  check_range("iterations", options.iterations, 1, kMaxIterations);
}

PyramidLayout pyramid_layout(const DisOptions& options, Size image) noexcept {
  const int side = std::min(image.width, image.height);
  const int size = options.patch_size;
  int coarsest = options.finest_scale - 1;
  if (side >> options.finest_scale >= size) {
    ++coarsest;
    // On a level of less than two patches most of a moved patch lies outside.
    while (side >> (coarsest + 1) >= 2 * size) ++coarsest;
  }
  const int border = (size + kLanes - 1) / kLanes * kLanes;
  return {image, options.finest_scale, coarsest, border};
}

DisFlow::DisFlow(const DisOptions& options) : options_(options) { check_options(options); }

void DisFlow::build(ImageView<const std::uint8_t> image, Pyramid& out, ThreadPool& pool) const {
  out.build(image, pyramid_layout(options_, image.size()), pool);
}

void DisFlow::compute(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                      FlowField& out, ThreadPool& pool) {
  build(current, current_, pool);
  build(past, past_, pool);
  compute(current_, past_, out, pool);
}

void DisFlow::compute(const Pyramid& current, const Pyramid& past, FlowField& out, ThreadPool& pool) {
  const PyramidLayout& shape = current.layout();
  if (shape != past.layout() || shape != pyramid_layout(options_, shape.image)) {
    throw Error(ErrorCode::invalid_argument, "flow: the images differ in size, or were prepared otherwise");
  }
  out.resize(shape.image.width, shape.image.height);
  if (shape.coarsest < shape.finest) {
    out.fill(0.F);
    return;
  }
  for (int level = shape.coarsest; level >= shape.finest; --level) {
    search_level(current, past, level, level == shape.coarsest, pool);
  }
  const Size size = current.level(shape.finest).size();
  const int scale = 1 << shape.finest;
  pool.parallel_for(shape.image.height, 2 * kRowGrain, [&](int begin, int end) {
    upsample(level_view(flow_.dx, size), scale, begin, end, out.dx.view());
    upsample(level_view(flow_.dy, size), scale, begin, end, out.dy.view());
  });
}

void DisFlow::search_level(const Pyramid& current, const Pyramid& past, int level, bool is_first,
                           ThreadPool& pool) {
  const PatchGrid grid = {current.level(level), past.level(level), current.layout().border,
                          options_.patch_size, options_.patch_stride};
  const Size size = grid.current.size();
  std::swap(flow_, coarser_);
  CoarserFlow coarser;
  if (!is_first) {
    const Size above = current.level(level + 1).size();
    coarser = {level_view(coarser_.dx, above), level_view(coarser_.dy, above)};
  }
  const std::size_t count = static_cast<std::size_t>(grid.rows()) * grid.columns();
  for (auto* patches : {&patches_, &next_}) {  // each by itself: memory may end between the two
    if (patches->size() < count) patches->resize(count);
  }
  for (int round = 0; round < kRounds; ++round) {
    const int steps = steps_of_round(options_.iterations, round);
    pool.parallel_for(grid.rows(), 1, [&](int begin, int end) {
      if (round == 0) {
        start_patches(grid, coarser, steps, begin, end, next_.data());
      } else {
        improve_patches(grid, patches_.data(), steps, begin, end, next_.data());
      }
    });
    patches_.swap(next_);
  }
  pool.parallel_for(grid.rows(), 1, [&](int begin, int end) {
    smooth_patches(grid, patches_.data(), begin, end, next_.data());
  });
  patches_.swap(next_);
  flow_.resize(size.width + kDensifySlack, size.height);
  weight_.resize(size.width + kDensifySlack, size.height);
  pool.parallel_for(size.height, kRowGrain, [&](int begin, int end) {
    densify(grid, patches_.data(), begin, end, level_view(flow_.dx, size), level_view(flow_.dy, size),
            level_view(weight_, size));
  });
}

}  // namespace stpl_rt
