#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

// Results have one wherever nobody asked for labels that stay on a GPU.
TEST(DeviceMap, AnEmptyOneRefusesWhatNeedsItsMemory) {
  const DeviceMap empty;
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(empty.data(), nullptr);
  EXPECT_EQ(empty.size(), 0U);
  std::uint8_t host = 7;
  const auto refused = [](const char* call, auto&& body) {
    expect_error(ErrorCode::invalid_argument, {call, "an empty one"}, body);
  };
  refused("::device", [&] { (void)empty.device(); });
  refused("::stream", [&] { (void)empty.stream(); });
  refused("::is_ready", [&] { (void)empty.is_ready(); });
  refused("::wait", [&] { empty.wait(); });
  refused("::copy_to", [&] { empty.copy_to(&host); });
  refused("::precede", [&] { empty.precede(nullptr); });
  refused("::read_on", [&] { empty.read_on(nullptr); });
  EXPECT_EQ(host, 7);
}

}  // namespace
}  // namespace stpl_rt::test
