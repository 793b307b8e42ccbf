// Compiled in a build without an engine alone.
#include "engine/engine.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

TEST(NoEngine, SaysHowToGetOne) {
  const fs::path bundle = made_bundle("half_pixel");
  expect_error(ErrorCode::unsupported, {"segment.onnx", "built without OpenVINO", "-DSTPL_RT_OPENVINO=ON"},
               [&] { (void)compile_network(Bundle::open(bundle).segment, "cpu", Precision::f32, 1); });
  expect_error(ErrorCode::unsupported, {"built without OpenVINO"}, [&] { (void)Segmenter(bundle); });
}

}  // namespace
}  // namespace stpl_rt::test
