// A Segmenter on a GPU that is emulated: what its users see of it.
#include <cmath>
#include <memory>
#include <optional>

#include "core/cuda/stream.h"
#include "emulation_counts.h"
#include "two_streams.h"

namespace stpl_rt::test {
namespace {

SegmenterOptions on_gpu(SegmenterOptions options) {
  options.device = "cuda";
  return options;
}

Frame on_device(const Picture& picture) {
  Frame frame = picture.frame();
  frame.memory = FrameMemory::device;
  return frame;
}

double share_differing(const ByteMap& a, std::span<const std::uint8_t> b) {
  EXPECT_EQ(a.size(), b.size());
  int differing = 0;
  for (std::size_t i = 0; i < a.size(); ++i) differing += a.bytes()[i] != b[i] ? 1 : 0;
  return differing / static_cast<double>(a.size());
}

// What the tests of streams run in an engine's place.
TEST(ClosedForm, IsWhatTheEngineComputes) {
  for (const char* name : {"half_pixel", "corners", "coarse", "fragile", "accel"}) {
    const Bundle bundle = Bundle::open(made_bundle(name));
    for (const auto& spec : {std::optional(bundle.segment), bundle.fuse, bundle.update}) {
      if (!spec) continue;
      SCOPED_TRACE(std::string(name) + ", " + spec->name);
      const auto compiled = compile_network(*spec, "cpu", Precision::f32, 1);
      const auto engine = compiled->make_engine(), closed = ClosedFormNetwork(bundle, *spec).make_engine();
      for (std::size_t i = 0; i < spec->inputs.size(); ++i) {
        for (std::size_t at = 0; at < engine->input(i).size(); ++at) {
          engine->input(i)[at] = closed->input(i)[at] = std::sin(0.37F * static_cast<float>(at + 7 * i));
        }
      }
      const std::span<const float> expected = engine->infer(), found = closed->infer();
      ASSERT_EQ(found.size(), expected.size());
      for (std::size_t at = 0; at < found.size(); ++at) ASSERT_NEAR(found[at], expected[at], 1e-5) << at;
    }
  }
}

TEST(DeviceSegmenter, GivesTheLabelsOfTheCpu) {
  const std::vector<Picture> pictures = drive(8);
  Segmenter cpu(made_bundle("coarse"), with("fixed:3"));
  Segmenter gpu(made_bundle("coarse"), on_gpu(with("fixed:3")));
  EXPECT_EQ(cpu.cuda_stream(), nullptr);
  EXPECT_NE(gpu.cuda_stream(), nullptr);
  for (const Picture& picture : pictures) {
    const Result expected = cpu.push(picture.frame()), found = gpu.push(picture.frame());
    EXPECT_EQ(found.key_reason, expected.key_reason);
    EXPECT_TRUE(found.device_labels.empty());
    EXPECT_LE(share_differing(expected.labels, found.labels.bytes()), 1e-4);
    EXPECT_LE(share_differing(expected.confidence, found.confidence.bytes()), 1e-2);
    EXPECT_GT(found.timing.sample_ms, 0);
  }
  std::vector<float> expected, found;
  cpu.logits(expected);
  gpu.logits(found);
  ASSERT_EQ(expected.size(), found.size());
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(expected[i], found[i], 2e-2);
}

TEST(DeviceSegmenter, FramesInTheQueueAreWaitedForOnlyWhenTheyAreCollected) {
  const std::vector<Picture> pictures = drive(8);
  SegmenterOptions options = on_gpu(with("fixed:4"));
  options.scene_cuts = false;
  options.queue = 8;
  Segmenter one(made_bundle("coarse"), options), many(made_bundle("coarse"), options);
  for (const Picture& picture : pictures) many.submit(picture.frame());
  for (const Picture& picture : pictures) {
    const Result expected = one.push(picture.frame()), found = many.collect();
    EXPECT_EQ(expected.frame_index, found.frame_index);
    EXPECT_EQ(expected.labels, found.labels);
    EXPECT_EQ(expected.confidence, found.confidence);
    EXPECT_TRUE(found.device_labels.empty());
  }
}

TEST(DeviceSegmenter, SeveralStreamsShareOneNetworkAndDoNotDisturbEachOther) {
  const std::vector<Picture> pictures = drive(7);
  const Bundle bundle = Bundle::open(made_bundle("coarse"));
  const int before = cuda::emulation::counts().networks;
  Segmenter one(bundle, on_gpu(with("fixed:3"))), other(bundle, on_gpu(with("fixed:2")));
  EXPECT_EQ(cuda::emulation::counts().networks, before + 1);
  Segmenter alone(made_bundle("coarse"), on_gpu(with("fixed:3")));
  for (const Picture& picture : pictures) {
    (void)other.push(pictures[0].frame());
    EXPECT_EQ(one.push(picture.frame()).labels, alone.push(picture.frame()).labels);
  }
}

TEST(DeviceSegmenter, LabelsStayOnTheDeviceUntilTheyAreAskedFor) {
  const std::vector<Picture> pictures = drive(6);
  SegmenterOptions options = with("fixed:3");
  options.scene_cuts = false;
  Segmenter cpu(made_bundle("coarse"), options);
  options.device_labels = true;
  Segmenter gpu(made_bundle("coarse"), on_gpu(options));
  for (const Picture& picture : pictures) {
    const Result expected = cpu.push(picture.frame());
    const Result found = gpu.push(on_device(picture));
    EXPECT_TRUE(found.labels.empty());
    const DeviceMap& labels = found.device_labels;
    ASSERT_FALSE(labels.empty());
    EXPECT_EQ(labels.device(), 0);
    EXPECT_EQ(labels.stream(), gpu.cuda_stream());
    EXPECT_FALSE(labels.is_ready());
    // Another stream's copy, which nothing but precede() orders after the work.
    const cuda::Stream reader;
    std::vector<std::uint8_t> copied(labels.size());
    labels.precede(reader.handle());
    cuda::copy_bytes(copied.data(), labels.data(), labels.size(), reader.handle());
    reader.wait();
    EXPECT_TRUE(labels.is_ready());
    labels.wait();
    EXPECT_LE(share_differing(expected.labels, copied), 1e-4);
  }
}

TEST(DeviceSegmenter, MemoryThatIsReadOnAnotherStreamIsNotWrittenBefore) {
  SegmenterOptions options = with("every");
  options.device_labels = true;
  Segmenter gpu(made_bundle("coarse"), on_gpu(options));
  const Picture first = textured_picture(320, 192), second = textured_picture(320, 192, 60, 0, 3);
  std::vector<std::uint8_t> expected, copied;
  const std::uint8_t* memory = nullptr;
  const cuda::Stream reader;
  {
    const Result result = gpu.push(on_device(first));
    memory = result.device_labels.data();
    result.device_labels.wait();
    expected = cuda::to_host(memory, result.device_labels.size());
    copied.resize(expected.size());
    cuda::copy_bytes(copied.data(), memory, copied.size(), reader.handle());  // nobody waits
    result.device_labels.read_on(reader.handle());
  }
  const Result next = gpu.push(on_device(second));
  ASSERT_EQ(next.device_labels.data(), memory) << "the memory is used again";
  next.device_labels.wait();
  reader.wait();
  EXPECT_EQ(copied, expected);
  EXPECT_NE(cuda::to_host(memory, expected.size()), expected);
}

TEST(DeviceSegmenter, WhatWritesTheFrameComesFirst) {
  Segmenter gpu(made_bundle("coarse"), on_gpu(with("every")));
  const Picture picture = textured_picture(320, 192);
  const Result expected = gpu.push(picture.frame());
  std::vector<std::uint8_t> memory(picture.rgb.size(), 0);
  const cuda::Stream producer;
  cuda::copy_bytes(memory.data(), picture.rgb.data(), memory.size(), producer.handle());
  Frame frame = on_device(picture);
  frame.data = memory.data();
  gpu.order_after(producer.handle());
  EXPECT_EQ(gpu.push(frame).labels, expected.labels);
}

TEST(DeviceSegmenter, SubmittedDeviceMemoryIsHeldUntilItIsCollected) {
  Segmenter gpu(made_bundle("coarse"), on_gpu(with("every")));
  const Picture picture = textured_picture(320, 192);
  expect_error(ErrorCode::invalid_argument, {"owner"}, [&] { gpu.submit(on_device(picture)); });
  auto owner = std::make_shared<int>(0);
  gpu.submit(on_device(picture), {}, owner);
  gpu.submit(picture.frame(), {}, owner);
  gpu.wait();
  EXPECT_EQ(owner.use_count(), 2);
  EXPECT_EQ(gpu.collect().labels, gpu.collect().labels);
  EXPECT_EQ(owner.use_count(), 1);
  gpu.submit(on_device(picture), {}, owner);
  gpu.submit(on_device(picture), {}, owner);
  {
    const Segmenter gone(std::move(gpu));
  }
  EXPECT_EQ(owner.use_count(), 1);
}

TEST(DeviceSegmenter, WaitsForWhatWasEnqueued) {
  for (const int lag : {0, 2}) {
    SegmenterOptions options = on_gpu(with("fixed:4", lag));
    options.device_labels = true;
    Segmenter gpu(made_bundle("coarse"), options);
    for (const Picture& picture : drive(6)) {
      const Result result = gpu.push(picture.frame());
      EXPECT_FALSE(result.device_labels.is_ready());
      gpu.wait();
      EXPECT_TRUE(result.device_labels.is_ready());
    }
  }
}

TEST(DeviceSegmenter, SaysOfEachFrameThatItsLogitsWereNotFinite) {
  SegmenterOptions options = on_gpu(with("fixed:2"));
  options.scene_cuts = false;
  Segmenter gpu(made_bundle("fragile"), options);
  const Picture picture = textured_picture(96, 64), broken = mean_picture(96, 64);
  gpu.submit(broken.frame());
  expect_error(ErrorCode::engine, {"1536 of 1536"}, [&] { (void)gpu.collect(); });
  gpu.submit(picture.frame());
  const Result result = gpu.collect();  // nobody has to be told twice
  EXPECT_EQ(result.key_reason, KeyReason::first);

  options.device_labels = true;
  Segmenter staying(made_bundle("fragile"), options);
  const Result failed = staying.push(broken.frame());
  const Result propagated = staying.push(picture.frame());
  expect_error(ErrorCode::engine, {"not finite"}, [&] { failed.device_labels.wait(); });
  expect_error(ErrorCode::engine, {"not finite"}, [&] { propagated.device_labels.wait(); });
  EXPECT_EQ(staying.push(picture.frame()).key_reason, KeyReason::first);
}

TEST(DeviceSegmenter, RefusesWhatOnlyAGpuCan) {
  const Picture picture = textured_picture(320, 192);
  SegmenterOptions options = with("every");
  Segmenter cpu(made_bundle("coarse"), options);
  expect_error(ErrorCode::invalid_argument, {"device memory"}, [&] { (void)cpu.push(on_device(picture)); });
  expect_error(ErrorCode::unsupported, {"order_after"}, [&] { cpu.order_after(nullptr); });
  options.device_labels = true;
  expect_error(ErrorCode::invalid_argument, {"device_labels", "cuda"},
               [&] { const Segmenter refused(made_bundle("coarse"), options); });
  options.device = "cuda:7";
  expect_error(ErrorCode::invalid_argument, {"device"},
               [&] { const Segmenter refused(made_bundle("coarse"), options); });
  for (const char* device : {"cuda:", "cuda:-1", "cuda:1x", "gpu", "CPU"}) {
    options.device = device;
    expect_error(ErrorCode::unsupported, {"cuda:N", device},
                 [&] { const Segmenter refused(made_bundle("coarse"), options); });
  }
}

}  // namespace
}  // namespace stpl_rt::test
