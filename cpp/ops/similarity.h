// How much of one frame's fine structure another frame explains.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "core/simd.h"
#include "ops/compose.h"

namespace stpl_rt {

// Variances and covariance within blocks, summed.
struct Moments {
  double current = 0;
  double past = 0;
  double both = 0;
};

// The blocks that are compared: at most kMaxBlocks, and of each every kSpacing-th pixel.
struct BlockSpread {
  static constexpr int kBlock = 16;
  static constexpr int kSpacing = 4;
  static constexpr int kSamples = (kBlock / kSpacing) * (kBlock / kSpacing);
  static constexpr int kMaxBlocks = 512;

  // Every step-th block, counted along rows; an odd step visits other columns in each row.
  explicit BlockSpread(Size image)
      : columns(image.width / kBlock),
        step(((columns * (image.height / kBlock) + kMaxBlocks - 1) / kMaxBlocks) | 1),
        count((columns * (image.height / kBlock) + step - 1) / step) {}
  [[nodiscard]] STPL_RT_INLINE int left(int i) const { return i * step % columns * kBlock; }
  [[nodiscard]] STPL_RT_INLINE int top(int i) const { return i * step / columns * kBlock; }

  int columns;
  int step;
  int count;
};

struct Similarity {
  // Of the grey values inside small blocks, each block's mean taken away: -1 to 1; 0 where either is flat.
  double correlation = 0;
  // Root mean square of their differences, in grey levels.
  double residual = 0;
  int blocks = 0;  // that were compared; few say little
};

Similarity to_similarity(const Moments& moments, int blocks);

// Compares `current` at x with `past` at x + flow(x), or at x itself where `flow` is null. Blocks of 16 x 16
// pixels, so that layout common to many scenes (bright sky above, dark road below) does not count, nor a
// change of brightness; a spread of at most 512 blocks and 16 pixels of each, so that the time is the same
// for all sizes. All of one size.
Similarity similarity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                      const FlowField* flow);

}  // namespace stpl_rt
