// What TensorRT does without a GPU.
#include "core/cuda/device.h"
#include "engine/engine.h"
#include "engine/plan_cache.h"
#include "engine/tensorrt_builder.h"
#include "engine/tensorrt_context.h"
#include "engine/tensorrt_library.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

using nlohmann::json;

bool is_rtx() { return tensorrt_library().is_rtx(); }

// What the installed library builds for: TensorRT needs the GPU itself.
#define SKIP_UNLESS_BUILDS()                  \
  if (!is_rtx() && cuda::device_count() == 0) \
  GTEST_SKIP() << "TensorRT builds on a GPU: " << cuda::why_no_device()

PlanRequest request_for(const NetworkSpec& network) {
  const TensorRtVersion version = tensorrt_library();
  return {.library = version.library(),
          .library_version = version.number(),
          .device = {.name = "NVIDIA L4", .compute_capability = 89},
          .network = network,
          .precision = "fp32"};
}

TEST(TensorRt, LibraryGoesWithTheHeaders) {
  EXPECT_GT(tensorrt_library().major, 0);
  EXPECT_NO_THROW(require_tensorrt()) << tensorrt_library().to_string();
}

TEST(TensorRt, BuildsEveryNetworkOfABundle) {
  SKIP_UNLESS_BUILDS();
  for (const char* name : {"half_pixel", "corners", "accel"}) {
    const Bundle bundle = Bundle::open(made_bundle(name));
    for (const auto& network : {std::optional(bundle.segment), bundle.fuse, bundle.update}) {
      if (!network) continue;
      const BuiltPlan plan = build_plan(read_checked(*network), *network);
      EXPECT_GT(plan.bytes.size(), 100U);
      EXPECT_FALSE(tensors_fault(plan.tensors, *network));
      const TemporaryFolder cache;
      const fs::path file =
          write_plan(cache.path(), own_identity(request_for(*network)), plan.bytes, plan.tensors);
      const PlanSearch found = find_plan(cache.path(), request_for(*network));
      ASSERT_TRUE(found.plan) << found.reasons.front();
      EXPECT_EQ(found.plan->bytes, plan.bytes);
      EXPECT_EQ(found.plan->file, file);
    }
  }
}

TEST(TensorRt, SaysWhyANetworkCannotBeRead) {
  SKIP_UNLESS_BUILDS();
  const NetworkSpec network = Bundle::open(made_bundle("half_pixel")).segment;
  const std::string model = read_checked(network);
  expect_error(ErrorCode::engine, {"TensorRT cannot read segment.onnx: "},
               [&] { (void)build_plan(model.substr(0, model.size() - 9), network); });
  std::string unknown = model;
  for (std::size_t at; (at = unknown.find("Conv")) != std::string::npos;) unknown.replace(at, 4, "Vnoc");
  expect_error(ErrorCode::engine, {"TensorRT cannot read segment.onnx: ", "Vnoc"},
               [&] { (void)build_plan(unknown, network); });
  // No model at all is to its parser an empty network.
  expect_error(ErrorCode::invalid_bundle, {"expected 2, found 0"},
               [&] { (void)build_plan("this is no network", network); });
}

TEST(TensorRt, ComparesANetworksTensorsWithTheManifest) {
  SKIP_UNLESS_BUILDS();
  const NetworkSpec sound = Bundle::open(made_bundle("half_pixel")).segment;
  const std::string model = read_checked(sound);
  NetworkSpec network = sound;
  network.inputs[0].shape[3] += 1;
  expect_error(ErrorCode::invalid_bundle, {"segment.onnx", "tensors", "96", "97"},
               [&] { (void)build_plan(model, network); });
  network = sound;
  network.outputs[0].name = "scores";
  expect_error(ErrorCode::invalid_bundle, {"\"scores\"", "none of that name"},
               [&] { (void)build_plan(model, network); });
}

// What a log that is made under this value prints of one message of each kind.
std::string printed(const char* value) {
  setenv("STPL_RT_TENSORRT_LOG", value, 1);
  testing::internal::CaptureStderr();
  TensorRtLog log;
  using Severity = TensorRtLog::Severity;
  log.log(Severity::kERROR, "broken");
  log.log(Severity::kWARNING, "slow\nlayer");
  log.log(Severity::kVERBOSE, "tactic 7");
  unsetenv("STPL_RT_TENSORRT_LOG");
  EXPECT_EQ(log.take(), "broken");
  return testing::internal::GetCapturedStderr();
}

TEST(TensorRt, PrintsWhatItIsAskedTo) {
  EXPECT_EQ(printed(""), "");
  EXPECT_EQ(printed("error"), "TensorRT: error: broken\n");
  const std::string warnings = printed("warning");
  EXPECT_NE(warnings.find("TensorRT: warning: slow"), std::string::npos) << warnings;
  EXPECT_EQ(std::ranges::count(warnings, '\n'), 2) << warnings;
  EXPECT_NE(printed("verbose").find("TensorRT: verbose: tactic 7\n"), std::string::npos);
  EXPECT_NE(printed("loud").find("expected error, warning, info or verbose, found \"loud\""),
            std::string::npos);
}

class WithoutGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() > 0) GTEST_SKIP() << "there is a GPU";
  }
};

TEST_F(WithoutGpu, RefusesToCompileAndSaysWhatToDo) {
  const NetworkSpec network = Bundle::open(made_bundle("half_pixel")).segment;
  for (const char* device : {"cuda", "cuda:0", "cuda:7"}) {
    for (const bool allowed : {false, true}) {
      expect_error(ErrorCode::unsupported, {"NVIDIA GPU", "driver", "found none", "use device \"cpu\""}, [&] {
        (void)compile_network(network, device, Precision::f32, 1, {.build = allowed, .trust = allowed});
      });
    }
  }
}

TEST_F(WithoutGpu, ASegmenterRefusesToo) {
  SegmenterOptions options;
  options.device = "cuda";
  options.build_engines = true;
  expect_error(ErrorCode::unsupported, {"NVIDIA GPU", "found none"},
               [&] { const Segmenter segmenter(made_bundle("half_pixel"), options); });
}

TEST(TensorRt, RefusesOtherNamesOfDevices) {
  const NetworkSpec network = Bundle::open(made_bundle("half_pixel")).segment;
  for (const char* device : {"gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "cuda0", "cuda:99999999999"}) {
    expect_error(ErrorCode::unsupported, {"\"cuda:N\"", device},
                 [&] { (void)compile_network(network, device, Precision::f32, 1); });
  }
}

// Without a driver the library refuses every plan, with a text of its own, and that text must arrive.
TEST_F(WithoutGpu, LoadingAPlanFailsWithTensorRtsText) {
  const NetworkSpec network = Bundle::open(made_bundle("half_pixel")).segment;
  expect_error(ErrorCode::engine, {"TensorRT failed"}, [&] { (void)load_engine("no plan", network, 0); });
}

}  // namespace
}  // namespace stpl_rt::test
