#include "segmenter/scene_cut.h"

#include "ops/similarity.h"

namespace stpl_rt {
namespace {

// Chosen on generated video: synthstreet in six domains at 15 and 5 frames a second, and cuts between its
// streets. Flow finds something alike for most of an unrelated frame, so a cut still correlates, mostly by
// 0.25 to 0.5. Frames that go on correlate by 0.67 and more at 15 Hz; below 0.62 were 6 of 180 pairs at 5 Hz,
// where the flow is lost as well, and all but 3 of 180 cuts. A false alarm costs one run of the network, a
// missed cut wrong labels until the next key frame.
constexpr double kCorrelation = 0.62;
// What differs by less than sensor noise is no other scene: noise of up to 5 levels stays below.
constexpr double kResidual = 6;
// Of fewer blocks the correlation says nothing.
constexpr int kBlocks = 6;

}  // namespace

bool is_scene_cut(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                  const FlowField& flow) {
  const Similarity along_flow = similarity(current, past, &flow);
  if (along_flow.blocks < kBlocks) return false;
  if (along_flow.correlation >= kCorrelation || along_flow.residual <= kResidual) return false;
  // Where flow fails though little moved (a flash, rain on the lens), the frames agree in place.
  const Similarity in_place = similarity(current, past, nullptr);
  return in_place.correlation < kCorrelation && in_place.residual > kResidual;
}

}  // namespace stpl_rt
