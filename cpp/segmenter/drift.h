// How much of a frame its key frame no longer explains.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "ops/compose.h"

namespace stpl_rt {

// 0 to 1: the mean over the picture of what speaks against a carried label: how far it has come along `flow`
// (t → key), in sides of the picture, for flow adds up its errors as it goes and what lies far away was seen
// at another size, from another side; and whether the key frame shows something else there, or did not see
// it. A spread of at most 16 thousand pixels, so that the time is the same for all sizes. All of one size.
double drift(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> key, const FlowField& flow);

}  // namespace stpl_rt
