// How much of one frame's fine structure another frame explains.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "ops/compose.h"

namespace stpl_rt {

struct Similarity {
  // Of the grey values inside small blocks, each block's mean taken away: -1 to 1; 0 where either is flat.
  double correlation = 0;
  // Root mean square of their differences, in grey levels.
  double residual = 0;
  int blocks = 0;  // that were compared; few say little
};

// Compares `current` at x with `past` at x + flow(x), or at x itself where `flow` is null. Blocks of 16 x 16
// pixels, so that layout common to many scenes (bright sky above, dark road below) does not count, nor a
// change of brightness; a spread of at most 512 blocks and 16 pixels of each, so that the time is the same
// for all sizes. All of one size.
Similarity similarity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                      const FlowField* flow);

}  // namespace stpl_rt
