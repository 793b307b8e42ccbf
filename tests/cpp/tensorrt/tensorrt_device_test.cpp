// What needs a GPU.
#include <cuda_runtime_api.h>

#include <cstdlib>

#include "core/cuda/device.h"
#include "core/cuda/error.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "core/sha256.h"
#include "engine/engine.h"
#include "engine/plan_cache.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

// With a cache of the test's own.
class TensorRtDevice : public testing::Test {
 protected:
  void SetUp() override {
    const std::string reason = cuda::why_no_device();
    if (!reason.empty()) GTEST_SKIP() << "no GPU: " << reason;
    setenv("XDG_CACHE_HOME", cache_.path().c_str(), 1);
  }

  static std::shared_ptr<const CompiledNetwork> compile(const PlanOptions& plans) {
    return compile_network(Bundle::open(made_bundle("half_pixel")).segment, "cuda", Precision::f32, 1, plans);
  }
  static fs::path only_plan() {
    for (const auto& entry : fs::recursive_directory_iterator(plans_folder())) {
      if (entry.path().extension() == ".plan") return entry.path();
    }
    return {};
  }

  TemporaryFolder cache_;
};

// The manifest's normalisation of a picture that fills the input.
void fill(const Picture& picture, std::span<float> input) {
  constexpr float kMean[] = {112, 120, 128}, kStd[] = {64, 64, 32};
  const std::size_t plane = input.size() / 3;
  for (std::size_t i = 0; i < input.size(); ++i) {
    const std::size_t c = i / plane;
    input[i] = (static_cast<float>(picture.rgb[3 * (i % plane) + c]) - kMean[c]) / kStd[c];
  }
}

void expect_logits(std::span<const float> logits, const Picture& picture) {
  const Reference reference(picture, picture.width, picture.height, false);
  const auto plane = static_cast<std::size_t>(reference.width() * reference.height());
  ASSERT_EQ(logits.size(), Reference::kClasses * plane);
  double worst = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const int place = static_cast<int>(i % plane);
    const auto& expected = reference.logit(place % reference.width(), place / reference.width());
    worst = std::max(worst, std::abs(logits[i] - expected[i / plane]));
  }
  EXPECT_LT(worst, 1e-3);
}

TEST_F(TensorRtDevice, BuildsOnlyWhereAskedAndFindsItAgain) {
  expect_error(ErrorCode::unsupported, {"expected a TensorRT plan", "--build-engines", "stpl-adapt export"},
               [] { (void)compile({}); });
  (void)compile({.build = true});
  const auto written = fs::last_write_time(only_plan());
  (void)compile({});
  EXPECT_EQ(fs::last_write_time(only_plan()), written);
}

TEST_F(TensorRtDevice, ComputesTheNetwork) {
  const auto network = compile({.build = true});
  const auto one = network->make_engine();
  const auto other = network->make_engine();
  const Picture first = textured_picture(96, 64);
  const Picture second = textured_picture(96, 64, 30, 10);
  fill(first, one->input());
  fill(second, other->input());
  one->start();
  other->start();
  expect_logits(one->wait(), first);
  expect_logits(other->wait(), second);
  fill(second, one->input());
  expect_logits(one->infer(), second);
}

TEST_F(TensorRtDevice, StaysOnTheDeviceAndIsRecordedInAGraph) {
  const auto engine = compile({.build = true})->make_device_engine();
  const Picture picture = textured_picture(96, 64);
  std::vector<float> input(picture.rgb.size());
  fill(picture, input);
  const cuda::Stream stream;
  ASSERT_EQ(engine->input_type(0), TensorType::f32);
  cuda::copy(static_cast<float*>(engine->input(0)), input.data(), input.size(), stream.handle());
  stream.wait();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  cuda::check(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal), "capture");
  engine->enqueue(stream.handle());
  cuda::check(cudaStreamEndCapture(stream.handle(), &graph), "end of capture");
  cuda::check(cudaGraphInstantiate(&executable, graph, 0), "instantiation");
  cuda::check(cudaGraphLaunch(executable, stream.handle()), "launch");
  std::vector<float> logits(4 * 24 * 16);
  cuda::copy(logits.data(), static_cast<const float*>(engine->output()), logits.size(), stream.handle());
  stream.wait();
  expect_logits(logits, picture);
  (void)cudaGraphExecDestroy(executable);
  (void)cudaGraphDestroy(graph);
}

TEST_F(TensorRtDevice, APlanOfTheBundleIsUsedOnlyWhereTrusted) {
  (void)compile({.build = true});
  const fs::path plan = only_plan();
  const TemporaryFolder folder;
  const fs::path copy = changed_bundle(folder, "half_pixel", [&](nlohmann::json& manifest) {
    fs::create_directory(folder.path() / "half_pixel" / "plans");
    fs::copy(plan, folder.path() / "half_pixel" / "plans" / "segment.plan");
    fs::copy(plan.string() + ".json", folder.path() / "half_pixel" / "plans" / "segment.plan.json");
    manifest["networks"]["segment"]["plans"] = {
        {{"file", "plans/segment.plan"}, {"sha256", sha256_file(plan)}}};
  });
  fs::remove_all(plans_folder());
  const NetworkSpec network = Bundle::open(copy).segment;
  expect_error(ErrorCode::unsupported, {"the bundle brings 1", "trust_engines"},
               [&] { (void)compile_network(network, "cuda", Precision::f32, 1, {}); });
  EXPECT_NO_THROW((void)compile_network(network, "cuda", Precision::f32, 1, {.trust = true}));
}

TEST_F(TensorRtDevice, RefusesAPrecisionThatTheFileDoesNotHave) {
  expect_error(ErrorCode::unsupported, {"f16", "fp32", "stpl-adapt export"}, [] {
    (void)compile_network(Bundle::open(made_bundle("half_pixel")).segment, "cuda", Precision::f16, 1,
                          {.build = true});
  });
}

}  // namespace
}  // namespace stpl_rt::test
