#include "segmenter/scene_cut.h"

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

bool continues(const Similarity& similarity) {
  return similarity.correlation >= kCorrelation || similarity.residual <= kResidual;
}

}  // namespace

bool is_scene_cut(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
                  const FlowField& flow) {
  const Similarity along_flow = similarity(current, past, &flow);
  if (along_flow.blocks < kBlocks || continues(along_flow)) return false;
  return is_scene_cut(along_flow, similarity(current, past, nullptr));
}

// Where flow fails though little moved (a flash, rain on the lens), the frames agree in place.
bool is_scene_cut(const Similarity& along_flow, const Similarity& in_place) {
  return along_flow.blocks >= kBlocks && !continues(along_flow) && !continues(in_place);
}

}  // namespace stpl_rt
