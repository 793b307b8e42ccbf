// What our engine adds to OpenVINO's own allocations: nothing.
#include "allocations.h"

#if defined(STPL_RT_COUNTS_ALLOCATIONS)

#include <algorithm>
#include <limits>
#include <openvino/openvino.hpp>

#include "engine/engine.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

// Never destroyed: see shared_core() of the engine.
ov::Core& core() {
  static auto* made = new ov::Core;
  return *made;
}

// Compiled as the engine does.
ov::InferRequest request_of(const NetworkSpec& network) {
  return core()
      .compile_model(network.file.string(), "CPU", ov::hint::inference_precision(ov::element::f32),
                     ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY), ov::num_streams(1),
                     ov::inference_num_threads(1), ov::hint::enable_cpu_pinning(false))
      .create_infer_request();
}

constexpr int kRuns = 50;

// Of this thread in that many runs, once the first are over. OpenVINO's own queues take a block now and then,
// so the fewest of a few times.
template <class Run>
int allocations_of(const Run& run) {
  count_on_this_thread();
  int fewest = std::numeric_limits<int>::max();
  for (int time = 0; time < 4; ++time) {
    start_counting();
    for (int i = 0; i < kRuns; ++i) run();
    fewest = std::min(fewest, stop_counting());
  }
  return fewest;
}

TEST(Engine, AddsNoAllocationToOpenVinosOwn) {
  const NetworkSpec network = Bundle::open(made_bundle("coarse")).segment;
  const auto engine = compile_network(network, "cpu", Precision::f32, 1)->make_engine();
  ov::InferRequest request = request_of(network);
  const int own = allocations_of([&] { request.infer(); });
  EXPECT_LT(allocations_of([&] { (void)engine->infer(); }), own + kRuns / 2);
  const int own_in_the_background = allocations_of([&] {
    request.start_async();
    request.wait();
  });
  const int found = allocations_of([&] {
    engine->start();
    (void)engine->wait();
  });
  EXPECT_LT(found, own_in_the_background + kRuns / 2);
}

}  // namespace
}  // namespace stpl_rt::test
#endif
