// What the two forms of sample_argmax refuse.
#pragma once

#include "ops/sample_argmax.h"

namespace stpl_rt {

// Throw Error(invalid_argument) that names what was expected and what was found.
void check_logits(const LogitsView& logits);
void check_sampling(const Geometry& geometry, Size logits, ImageView<std::uint8_t> labels,
                    ImageView<std::uint8_t> confidence);
void check_flow(const FlowField& flow, ImageView<const float> validity);

}  // namespace stpl_rt
