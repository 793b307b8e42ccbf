// A propagated frame as one graph: nothing in it waits or allocates, and it gives what the same calls give
// one by one.
#include "core/cuda/graph.h"
#include "flow/dis_cuda.h"
#include "on_device.h"
#include "ops/compose_cuda.h"
#include "ops/finite_cuda.h"
#include "ops/preprocess_cuda.h"
#include "ops/sample_argmax_cuda.h"
#include "ops/similarity_cuda.h"
#include "segmenter/drift_cuda.h"

namespace stpl_rt::cuda {
namespace {

constexpr Size kFrame = {640, 360};
constexpr Size kGrid = {320, 192};
constexpr int kClasses = 19;
constexpr Size kLogits = {80, 48};

// All that a propagated frame and a key frame need, from a frame's bytes to labels.
struct Pipeline {
  explicit Pipeline(StreamHandle stream) {
    InputSpec spec;
    spec.width = kGrid.width;
    spec.height = kGrid.height;
    geometry = make_geometry(kFrame, spec, {kLogits.width, kLogits.height, false});
    plan.prepare(kFrame, spec, kGrid, stream);
    bytes = to_device(reference::bytes(3 * static_cast<std::size_t>(kFrame.width) * kFrame.height, 1));
    logits = to_device(
        reference::noise(static_cast<std::size_t>(kClasses) * kLogits.width * kLogits.height, 2, 3.F));
    packed.reserve(packed_size(kClasses, kLogits.width, kLogits.height));
    input.reserve(3 * static_cast<std::size_t>(kGrid.width) * kGrid.height);
    dis.prepare(kGrid);
    for (int i = 0; i < 2; ++i) {
      luma[i].resize(kGrid.width, kGrid.height);
      pyramid[i].prepare(dis.layout(kGrid));
    }
    const std::vector<unsigned char> past =
        reference::bytes(static_cast<std::size_t>(kGrid.width) * kGrid.height, 3);
    copy(luma[1].view().data, past.data(), past.size(), stream);
    pyramid[1].build(luma[1].cview(), stream);
    for (DeviceFlow* flow : {&latest, &composed}) flow->resize(kGrid.width, kGrid.height);
    kept = to_device(reference::random_flow(kGrid.width, kGrid.height, 4, 3.F));
    trust.resize(kGrid.width, kGrid.height);
    labels.resize(kFrame.width, kFrame.height);
    confidence.resize(kFrame.width, kFrame.height);
    blocks.reserve(kSimilarityScratch);
    rows.reserve(kDriftScratch);
    moments.reserve(1);
    drifted.reserve(1);
    wrong.reserve(1);
    Stream::wait_for(stream);
    Stream::wait_for(kStream);  // where to_device() copies
  }

  void run(StreamHandle stream) {
    const Frame frame = {.data = bytes.data(), .width = kFrame.width, .height = kFrame.height};
    preprocess(frame, plan, input.data(), stream);
    const PlanarLogits<float> planar = {logits.data(), kClasses, kLogits.width, kLogits.height};
    count_not_finite(planar.data, static_cast<std::size_t>(kClasses) * kLogits.width * kLogits.height,
                     wrong.data(), stream);
    const PackedLogits<float> key = pack_logits(planar, packed.data(), stream);
    cuda::luma(frame, plan, luma[0].view(), stream);
    pyramid[0].build(luma[0].cview(), stream);
    dis.compute(pyramid[0], pyramid[1], latest.planes(), stream);
    similarity(luma[0].cview(), luma[1].cview(), latest.cplanes(), blocks.data(), moments.data(), stream);
    compose(latest.cplanes(), kept.cplanes(), composed.planes(), stream);
    validity(luma[0].cview(), luma[1].cview(), latest.cplanes(), {}, composed.cplanes(), trust.view(),
             stream);
    check_return(latest.cplanes(), kept.cplanes(), trust.view(), stream);
    drift(luma[0].cview(), luma[1].cview(), composed.cplanes(), trust.cview(), rows.data(), drifted.data(),
          stream);
    sample_argmax(key, geometry, composed.cplanes(), trust.cview(), labels.view(), confidence.view(), stream);
  }

  Geometry geometry;
  FramePlan plan;
  DeviceBuffer<unsigned char> bytes;
  DeviceBuffer<float> logits, packed, input, rows;
  DisFlow dis;
  DeviceImage<std::uint8_t> luma[2];
  Pyramid pyramid[2];
  DeviceFlow latest, composed, kept;
  DeviceImage<float> trust;
  DeviceImage<std::uint8_t> labels, confidence;
  DeviceBuffer<BlockMoments> blocks;
  DeviceBuffer<PairMoments> moments;
  DeviceBuffer<double> drifted;
  DeviceBuffer<int> wrong;
};

class GraphOnDevice : public OnDevice<testing::Test> {};

TEST_F(GraphOnDevice, APropagatedFrameIsOneGraph) {
  const DeviceScope scope(0);
  const Stream stream;
  Pipeline pipeline(stream.handle());
  pipeline.run(stream.handle());
  stream.wait();
  const Image<std::uint8_t> labels = to_host(pipeline.labels.cview());
  const Image<std::uint8_t> confidence = to_host(pipeline.confidence.cview());
  const double drifted = to_host<double>(pipeline.drifted.data(), 1)[0];

  Graph graph;
  graph.capture(stream.handle(), [&](StreamHandle on) { pipeline.run(on); });
  fill_zero(pipeline.labels.view(), stream.handle());
  fill_zero(pipeline.confidence.view(), stream.handle());
  set_bytes(pipeline.drifted.data(), 0, sizeof(double), stream.handle());
  for (int i = 0; i < 3; ++i) graph.launch(stream.handle());
  stream.wait();
  EXPECT_EQ(count_differing(labels.cview(), to_host(pipeline.labels.cview()).cview(), 0), 0);
  EXPECT_EQ(count_differing(confidence.cview(), to_host(pipeline.confidence.cview()).cview(), 0), 0);
  EXPECT_EQ(to_host<double>(pipeline.drifted.data(), 1)[0], drifted);
}

TEST_F(GraphOnDevice, AStreamIsWellAfterWorkThatThrew) {
  const DeviceScope scope(0);
  const Stream stream;
  Graph graph;
  EXPECT_THROW(
      graph.capture(stream.handle(), [](StreamHandle) { throw Error(ErrorCode::internal, "in the middle"); }),
      Error);
  EXPECT_TRUE(graph.empty());
  Pipeline pipeline(stream.handle());
  graph.capture(stream.handle(), [&](StreamHandle on) { pipeline.run(on); });
  graph.launch(stream.handle());
  stream.wait();
}

}  // namespace
}  // namespace stpl_rt::cuda
