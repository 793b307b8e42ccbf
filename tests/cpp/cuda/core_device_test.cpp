// Devices, streams, events and memory, as CUDA gives them.
#include <stpl_rt/error.h>

#include <algorithm>

#include "core/cuda/device.h"
#include "core/cuda/stream.h"
#include "on_device.h"

namespace stpl_rt::cuda {
namespace {

TEST(Device, ThatIsNotThereIsRefusedWithTheReason) {
  const int count = device_count();
  try {
    require_device(count);
    FAIL() << "device " << count << " of " << count << " was found";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.code(), count == 0 ? ErrorCode::unsupported : ErrorCode::invalid_argument) << text;
    EXPECT_NE(text.find(count == 0 ? why_no_device() : "found cuda:" + std::to_string(count)),
              std::string::npos)
        << text;
  }
  EXPECT_EQ(why_no_device().empty(), count > 0);
  EXPECT_THROW(require_device(-1), Error);
}

TEST(WithoutGpu, MemoryIsRefusedWithCudasText) {
  if (device_count() > 0) GTEST_SKIP() << "there is a GPU";
  try {
    DeviceBuffer<int>().reserve(10);
    FAIL() << "there was memory";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("cudaError"), std::string::npos) << error.what();
  }
}

class CoreOnDevice : public OnDevice<testing::Test> {};

TEST_F(CoreOnDevice, MemoryGrowsAndIsThenKept) {
  const DeviceScope scope(0);
  DeviceBuffer<int> buffer;
  buffer.reserve(100);
  const int* first = buffer.data();
  buffer.reserve(50);
  EXPECT_EQ(buffer.data(), first);
  EXPECT_EQ(buffer.capacity(), 100);
  buffer.reserve(1000);
  EXPECT_EQ(buffer.capacity(), 1000);
  try {
    buffer.reserve(std::size_t{1} << 50);
    FAIL() << "there was that much memory";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::engine) << error.what();
  }
  EXPECT_EQ(buffer.data(), nullptr);
  buffer.reserve(10);  // a failure leaves nothing behind
}

TEST_F(CoreOnDevice, StreamsCopyAndEventsTellTheTime) {
  const DeviceScope scope(0);
  constexpr std::size_t kCount = 1 << 20;
  PinnedBuffer<int> host, back;
  host.reserve(kCount);
  back.reserve(kCount);
  for (std::size_t i = 0; i < kCount; ++i) host.data()[i] = static_cast<int>(i);
  DeviceBuffer<int> device;
  device.reserve(kCount);
  const Stream one, other;
  Event begin(Event::Timing::on), end(Event::Timing::on);
  begin.record(one.handle());
  copy(device.data(), static_cast<const int*>(host.data()), kCount, one.handle());
  end.record(one.handle());
  Stream::wait_for(other.handle(), end);
  copy(back.data(), static_cast<const int*>(device.data()), kCount, other.handle());
  other.wait();
  EXPECT_TRUE(std::equal(host.data(), host.data() + kCount, back.data()));
  EXPECT_TRUE(end.is_done());
  EXPECT_GT(end.milliseconds_since(begin), 0);
}

}  // namespace
}  // namespace stpl_rt::cuda
