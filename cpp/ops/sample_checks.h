// What sample_argmax refuses in each of its forms.
#pragma once

#include "ops/sample_argmax.h"

namespace stpl_rt {

// Throw Error(invalid_argument) that names what was expected and what was found.
void check_logits(const void* data, int classes, Size size);
inline void check_logits(const LogitsView& logits) {
  check_logits(logits.data, logits.classes, {logits.width, logits.height});
}
void check_sampling(const Geometry& geometry, Size logits, ImageView<std::uint8_t> labels,
                    ImageView<std::uint8_t> confidence);
void check_flow(Size dx, Size dy, ImageView<const float> validity);
inline void check_flow(const FlowField& flow, ImageView<const float> validity) {
  check_flow(flow.size(), flow.dy.size(), validity);
}

}  // namespace stpl_rt
