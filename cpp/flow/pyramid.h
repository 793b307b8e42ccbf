// An image at halved sizes, with borders, as the flow search reads it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/image.h"
#include "core/thread_pool.h"

namespace stpl_rt {

// What two pyramids must share to be compared. Level l has (width >> l) x (height >> l) pixels; an odd last
// row or column of a level is left out of the next.
struct PyramidLayout {
  Size image;
  int finest = 0;    // levels finest to coarsest can be read
  int coarsest = 0;  // below `finest`: no level at all, the image is too small
  int border = 0;    // pixels around each level that repeat its edge
  friend bool operator==(const PyramidLayout&, const PyramidLayout&) = default;
};

// Levels of float grey values 0-255, each the 2x2 box mean of the one before. Keeps its memory.
class Pyramid {
 public:
  // `image` has the layout's size and at least one pixel at the coarsest level.
  void build(ImageView<const std::uint8_t> image, const PyramidLayout& layout, ThreadPool& pool);
  // Forgets the image, keeps the memory.
  void clear() noexcept { layout_ = {}; }
  // Whether it holds no image.
  [[nodiscard]] bool empty() const noexcept { return layout_.image == Size{}; }

  [[nodiscard]] const PyramidLayout& layout() const noexcept { return layout_; }
  // `data` is pixel (0, 0); `border` pixels around the level can be read too.
  [[nodiscard]] ImageView<const float> level(int index) const noexcept;

 private:
  PyramidLayout layout_;
  std::vector<Image<float>> levels_;  // [0] stays unused unless it is the finest
};

}  // namespace stpl_rt
