// Streams on a GPU against those on the processor: the same key frames and reasons, the same labels.
#include <algorithm>
#include <limits>
#include <random>

#include "two_streams.h"

namespace stpl_rt::test {
namespace {

class DeviceStreams : public cuda::OnDevice<testing::Test> {};

SegmenterOptions staying(SegmenterOptions options) {
  options.device_labels = true;
  return options;
}

// With and without graphs, waiting and not, from host and device memory.
void expect_same(const fs::path& bundle, const SegmenterOptions& options, const std::vector<Step>& steps,
                 double most_confidence = 1e-4) {
  for (const bool graphs : {false, true}) {
    SCOPED_TRACE(graphs ? "graphs" : "no graphs");
    TwoStreams waiting(bundle, options, {.graphs = graphs});
    waiting.most_confidence = most_confidence;
    waiting.push(steps, FrameMemory::host);
    TwoStreams running(bundle, staying(options), {.graphs = graphs});
    running.most_confidence = most_confidence;
    running.push(steps, FrameMemory::device);
  }
}

TEST_F(DeviceStreams, Every) {
  const std::vector<Picture> pictures = drive(6);
  for (const char* bundle : {"half_pixel", "corners", "coarse"}) {
    SCOPED_TRACE(bundle);
    expect_same(made_bundle(bundle), with("every"), steps_of(pictures));
  }
}

TEST_F(DeviceStreams, Fixed) {
  const std::vector<Picture> pictures = drive(14);
  for (const char* bundle : {"half_pixel", "corners", "coarse"}) {
    SCOPED_TRACE(bundle);
    SegmenterOptions options = with("fixed:3");
    options.scene_cuts = false;
    expect_same(made_bundle(bundle), options, steps_of(pictures));
  }
}

TEST_F(DeviceStreams, Adaptive) {
  std::vector<Picture> pictures = drive(6, 0.5);  // slow, then fast
  for (int t = 1; t <= 6; ++t) pictures.push_back(textured_picture(320, 192, 2.5 + 12 * t));
  for (const bool scene_cuts : {false, true}) {
    SegmenterOptions options = with("adaptive:0.3:100");
    options.scene_cuts = scene_cuts;
    expect_same(made_bundle("coarse"), options, steps_of(pictures));
  }
}

TEST_F(DeviceStreams, FlowThatIsChecked) {
  const std::vector<Picture> pictures = overtaken(9);
  std::vector<Step> steps = steps_of(pictures);
  std::vector<float> zeros(2 * 20 * 12);
  steps[4].info.flow = {.data = zeros.data(), .width = 20, .height = 12};
  for (const int lag : {0, 2}) {
    for (const char* schedule : {"fixed:4", "adaptive:0.3:20"}) {
      SegmenterOptions options = with(schedule, lag);
      options.flow_check = true;
      expect_same(made_bundle("coarse"), options, steps, 2e-3);
    }
  }
}

TEST_F(DeviceStreams, AKeyFrameThatIsLate) {
  const std::vector<Picture> pictures = drive(16, 1);
  for (const int lag : {1, 2, 3}) {
    SCOPED_TRACE(lag);
    SegmenterOptions options = with("fixed:4", lag);
    options.scene_cuts = false;
    expect_same(made_bundle("coarse"), options, steps_of(pictures));
    expect_same(made_bundle("coarse"), with("adaptive:0.2:8", lag), steps_of(pictures));
  }
}

TEST_F(DeviceStreams, SizesGapsAndResets) {
  const std::vector<Picture> large = drive(4), small = drive(4, 1, 200, 161);
  std::vector<Step> steps;
  for (const auto* pictures : {&large, &small, &large}) {
    for (const Step& step : steps_of(*pictures)) steps.push_back(step);
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    steps[i].info.timestamp = 0.1 * static_cast<double>(i) + (i >= 6 ? 1 : 0);
  }
  steps[10].reset = true;
  for (const int lag : {0, 2}) {
    TwoStreams streams(made_bundle("coarse"), staying(with("fixed:5", lag)), {});
    streams.push(steps, FrameMemory::device);
    EXPECT_EQ(streams.found()[4].key_reason, KeyReason::size_change);
    EXPECT_EQ(streams.found()[6].key_reason, KeyReason::gap);
    EXPECT_EQ(streams.found()[10].key_reason, KeyReason::first);
    expect_same(made_bundle("coarse"), with("fixed:5", lag), steps);
  }
}

TEST_F(DeviceStreams, FlowFromElsewhereAmongOurOwn) {
  const std::vector<Picture> pictures = drive(10);
  std::vector<Step> steps = steps_of(pictures);
  std::vector<float> small(2 * 20 * 12), large(2 * 400 * 240);
  for (std::vector<float>* flow : {&small, &large}) {
    for (std::size_t i = 0; i < flow->size(); i += 2) (*flow)[i] = static_cast<float>(i % 5) * 0.1F;
  }
  steps[1].info.flow = {.data = small.data(), .width = 20, .height = 12};
  steps[2].info.flow = {.data = large.data(), .width = 400, .height = 240};
  steps[6].info.flow = {.data = large.data(), .width = 200, .height = 240, .stride = 800};
  SegmenterOptions options = with("fixed:5");
  options.scene_cuts = false;
  expect_same(made_bundle("coarse"), options, steps);
}

// The same bytes in every format, with odd sizes and rows of their own. They do not go on from frame to
// frame: flow finds nothing in them, so that small differences decide what is trusted.
TEST_F(DeviceStreams, FormatsOfFrames) {
  constexpr int kWidth = 319, kHeight = 191, kHalfWidth = 160, kHalfHeight = 96;
  std::vector<std::vector<std::uint8_t>> bytes;
  for (int t = 0; t < 5; ++t) {
    const Picture picture = textured_picture(3 * kWidth, 2 * kHeight, 2 * t);
    bytes.push_back(picture.rgb);
  }
  const auto steps_in = [&](PixelFormat format, YuvEncoding encoding) {
    std::vector<Step> steps;
    for (const std::vector<std::uint8_t>& pixels : bytes) {
      Frame frame{.data = pixels.data(), .width = kWidth, .height = kHeight, .format = format};
      frame.encoding = encoding;
      frame.stride = 3 * kWidth + 13;
      if (format == PixelFormat::nv12) {
        frame.chroma = pixels.data() + 3 * kWidth * 200;
        frame.chroma_stride = 2 * kHalfWidth + 7;
      }
      if (format == PixelFormat::i420) {
        frame.chroma = pixels.data() + 3 * kWidth * 200;
        frame.chroma_cr = frame.chroma + (kHalfWidth + 5) * kHalfHeight;
        frame.chroma_stride = kHalfWidth + 5;
      }
      steps.push_back({.frame = frame, .info = {}});
    }
    return steps;
  };
  SegmenterOptions options = with("fixed:3");
  options.scene_cuts = false;
  for (const PixelFormat format :
       {PixelFormat::rgb, PixelFormat::bgr, PixelFormat::gray, PixelFormat::nv12, PixelFormat::i420}) {
    SCOPED_TRACE(static_cast<int>(format));
    expect_same(made_bundle("coarse"), options, steps_in(format, YuvEncoding::bt601), 0.01);
  }
  // Another encoding is not another format, and needs other kernels.
  std::vector<Step> steps = steps_in(PixelFormat::nv12, YuvEncoding::bt601);
  for (const Step& step : steps_in(PixelFormat::nv12, YuvEncoding::bt709_full)) steps.push_back(step);
  expect_same(made_bundle("coarse"), options, steps, 0.01);
}

TEST_F(DeviceStreams, RowsFromBelowComeFromTheHostAlone) {
  const Picture picture = textured_picture(320, 192);
  Frame frame = picture.frame();
  frame.data = picture.at(0, 191);
  frame.stride = -3 * 320;
  TwoStreams streams(made_bundle("coarse"), with("every"), {});
  streams.push({{.frame = frame, .info = {}}}, FrameMemory::host);
  frame.memory = FrameMemory::device;
  expect_error(ErrorCode::invalid_argument, {"stride", "-960"},
               [&] { (void)streams.device().push(frame, {}); });
}

TEST_F(DeviceStreams, Letterbox) {
  const TemporaryFolder folder;
  const fs::path bundle = changed_bundle(
      folder, "coarse", [](nlohmann::json& manifest) { manifest["input"]["resize"] = "letterbox"; });
  const std::vector<Picture> pictures = drive(8, 2, 240, 240);
  expect_same(bundle, with("fixed:3"), steps_of(pictures));
}

TEST_F(DeviceStreams, CutsAreKeyFrames) {
  std::vector<Picture> pictures = drive(4);
  std::mt19937 numbers(1);
  Picture noise(320, 192);
  for (std::uint8_t& value : noise.rgb) value = static_cast<std::uint8_t>(numbers() % 256);
  for (int t = 0; t < 4; ++t) pictures.push_back(noise);
  for (const int lag : {0, 2}) {
    TwoStreams streams(made_bundle("coarse"), with("fixed:8", lag), {});
    streams.push(steps_of(pictures), FrameMemory::host);
    EXPECT_EQ(streams.found()[3].key_reason, KeyReason::none);
    EXPECT_EQ(streams.found()[4].key_reason, KeyReason::scene_cut);
    EXPECT_EQ(streams.found()[5].key_reason, KeyReason::none);
    expect_same(made_bundle("coarse"), with("fixed:8", lag), steps_of(pictures));
  }
}

TEST_F(DeviceStreams, AccelMode) {
  const std::vector<Picture> pictures = drive(9);
  for (const auto& [fuse, update] : {std::pair(true, false), std::pair(false, true), std::pair(true, true)}) {
    SCOPED_TRACE(fuse ? (update ? "fuse, update" : "fuse") : "update");
    for (const char* schedule : {"every", "fixed:3", "adaptive:0.05:4"}) {
      SCOPED_TRACE(schedule);
      SegmenterOptions options = with(schedule);
      options.fuse = fuse;
      options.update = update && schedule != std::string("every");
      expect_same(made_bundle("accel"), options, steps_of(pictures), 1e-3);
    }
  }
}

// As plans of which one ends in fp32, because its last layers would lose too much.
TEST_F(DeviceStreams, AccelModeOfNetworksInAnyPrecision) {
  const std::vector<Picture> pictures = drive(6);
  SegmenterOptions options = with("fixed:2");
  options.fuse = options.update = true;
  for (const Types& types : {Types{TensorType::f16, TensorType::f16}, Types{TensorType::f16, TensorType::f32},
                             Types{TensorType::f32, TensorType::f16}}) {
    SCOPED_TRACE(types.segment == types.accel ? "f16"
                                              : (types.segment == TensorType::f16 ? "f16, f32" : "f32, f16"));
    TwoStreams streams(made_bundle("accel"), options, {}, types);
    streams.most_labels = 2e-3;  // logits that are nearer to each other than a half tells apart
    streams.most_confidence = 2e-3;
    streams.push(steps_of(pictures), FrameMemory::host);
  }
}

TEST_F(DeviceStreams, FlowThatLiesOnTheDevice) {
  const std::vector<Picture> pictures = drive(6);
  std::vector<float> vectors(2 * 90 * 40, 0.4F);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const bool is_sound : {true, false}) {
    if (!is_sound) vectors[100] = nan;
    const auto memory = cuda::to_device(vectors);
    cuda::Stream::wait_for(cuda::kStream);  // where to_device() copies
    SegmenterOptions options = with("fixed:6");
    options.scene_cuts = false;
    TwoStreams streams(made_bundle("coarse"), options, {});
    for (std::size_t t = 0; t < pictures.size(); ++t) {
      const Frame frame = pictures[t].frame();
      FlowView flow{.data = vectors.data(), .width = 40, .height = 40, .stride = 180};
      if (is_sound) (void)streams.host().push(frame, {.timestamp = {}, .flow = flow});
      flow.data = memory.data();
      flow.memory = FrameMemory::device;
      const Result found = streams.device().push(frame, {.timestamp = {}, .flow = flow});
      if (!is_sound) continue;  // nobody crashes
      std::vector<float> expected_logits, found_logits;
      streams.host().logits(expected_logits);
      streams.device().logits(found_logits);
      for (std::size_t i = 0; i < found_logits.size(); ++i) {
        ASSERT_NEAR(expected_logits[i], found_logits[i], 2e-2) << t << " " << i;
      }
    }
  }
}

TEST_F(DeviceStreams, HalfPrecisionLogits) {
  const std::vector<Picture> pictures = drive(8);
  TwoStreams streams(made_bundle("coarse"), with("fixed:3"), {}, {.segment = TensorType::f16});
  streams.most_labels = 2e-3;  // logits that are nearer to each other than a half tells apart
  streams.most_confidence = 2e-3;
  streams.push(steps_of(pictures), FrameMemory::host);
}

TEST_F(DeviceStreams, LogitsAreThoseOfTheHost) {
  const std::vector<Picture> pictures = drive(3);
  for (const char* schedule : {"every", "fixed:5"}) {
    TwoStreams streams(made_bundle("coarse"), with(schedule), {});
    std::vector<float> expected, found;
    expect_error(ErrorCode::invalid_argument, {"found none"}, [&] { streams.device().logits(found); });
    for (const Picture& picture : pictures) {
      streams.push({{.frame = picture.frame(), .info = {}}}, FrameMemory::host);
      streams.host().logits(expected);
      streams.device().logits(found);
      ASSERT_EQ(expected.size(), found.size());
      for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(expected[i], found[i], 2e-2) << i;
    }
  }
}

TEST_F(DeviceStreams, ValuesThatAreNotFiniteLeaveTheStreamAsItWas) {
  for (const char* schedule : {"every", "fixed:2"}) {
    TwoStreams streams(made_bundle("fragile"), with(schedule), {});
    const Picture first = textured_picture(96, 64), second = textured_picture(96, 64, 1);
    streams.push({{.frame = first.frame(), .info = {}}}, FrameMemory::host);
    streams.host().reset();
    streams.device().reset();
    const Picture broken = mean_picture(96, 64);
    expect_error(ErrorCode::engine, {"not finite", "1536 of 1536"},
                 [&] { (void)streams.device().push(broken.frame(), {}); });
    streams.push({{.frame = first.frame(), .info = {}}, {.frame = second.frame(), .info = {}}},
                 FrameMemory::host);
  }
}

// Nobody waits: a later frame says so, and the one after that begins anew.
TEST_F(DeviceStreams, ValuesThatAreNotFiniteAreReportedLater) {
  SegmenterOptions options = with("fixed:2");
  options.scene_cuts = false;
  TwoStreams streams(made_bundle("fragile"), staying(options), {});
  const Picture picture = textured_picture(96, 64), broken = mean_picture(96, 64);
  DeviceStream& device = streams.device();
  (void)device.push(broken.frame(), {});
  // By the next one, where the GPU is done by then, or by the one after it.
  std::string said;
  std::uint64_t pushed = 0;
  while (said.empty() && pushed < 2) {
    ++pushed;
    try {
      (void)device.push(picture.frame(), {});
      cuda::Stream::wait_for(streams.stream());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::engine);
      said = error.what();
    }
  }
  EXPECT_NE(said.find("not finite"), std::string::npos) << said;
  EXPECT_NE(said.find("1536 of 1536"), std::string::npos) << said;
  const Result result = device.push(picture.frame(), {});
  EXPECT_EQ(result.key_reason, KeyReason::first);
  EXPECT_EQ(result.frame_index, pushed);
}

TEST_F(DeviceStreams, ValuesThatAreNotFiniteInTheBackgroundEndWithAKeyFrame) {
  SegmenterOptions options = with("fixed:3", 1);
  options.scene_cuts = false;
  TwoStreams streams(made_bundle("fragile"), options, {});
  std::vector<Picture> pictures(4, textured_picture(96, 64));
  pictures[3] = mean_picture(96, 64);
  streams.push(steps_of(pictures), FrameMemory::host);
  EXPECT_TRUE(streams.found()[3].is_key);
  expect_error(ErrorCode::engine, {"not finite"},
               [&] { (void)streams.device().push(pictures[0].frame(), {}); });
  const Result result = streams.device().push(pictures[0].frame(), {});
  EXPECT_EQ(result.key_reason, KeyReason::first);
}

TEST_F(DeviceStreams, MapsThatAreKeptStayAsTheyWere) {
  const std::vector<Picture> pictures = drive(12, 9);
  TwoStreams streams(made_bundle("coarse"), staying(with("every")), {});
  streams.push(steps_of(pictures), FrameMemory::device);  // compares all of them at the end
  const std::uint8_t* released = nullptr;
  {
    const Result dropped = streams.device().push(pictures[0].frame(), {});
    released = dropped.device_labels.data();
    EXPECT_NE(released, streams.found().back().device_labels.data());
  }
  EXPECT_EQ(streams.device().push(pictures[1].frame(), {}).device_labels.data(), released);
}

TEST_F(DeviceStreams, OnTheCallersStreamAndWithTimes) {
  const cuda::Stream stream;
  const std::vector<Picture> pictures = drive(7);
  SegmenterOptions options = with("fixed:3");
  options.cuda_stream = stream.handle();
  for (const bool stays : {false, true}) {
    options.device_labels = stays;
    TwoStreams streams(made_bundle("coarse"), options, {});
    streams.push(steps_of(pictures), FrameMemory::device);
    EXPECT_EQ(streams.stream(), stream.handle());
    for (const Result& result : streams.found()) {
      EXPECT_EQ(result.timing.sample_ms > 0, !stays);
      EXPECT_GT(result.timing.total_ms, 0);
    }
  }
}

TEST_F(DeviceStreams, RefuseWhatTheyCannotDo) {
  const auto make = [](const SegmenterOptions& options, const DeviceOptions& device) {
    const TwoStreams streams(made_bundle("accel"), options, device);
  };
  expect_error(ErrorCode::invalid_argument, {"device"}, [&] { make(with("fixed:3"), {.device = 4096}); });
  expect_error(ErrorCode::invalid_argument, {"key_lag"}, [&] { make(with("fixed:3", 3), {}); });
}

}  // namespace
}  // namespace stpl_rt::test
