// The C interface on a GPU that is emulated, against the C++ one.
#include <cstring>

#include "c_api/handles.h"
#include "core/cuda/stream.h"
#include "on_device.h"

namespace stpl_rt::test {
namespace {

stpl_frame on_device(const Picture& picture) {
  stpl_frame frame = stpl_rgb_frame(picture.rgb.data(), picture.width, picture.height);
  frame.memory = STPL_DEVICE;
  return frame;
}

TEST(DeviceCApi, LabelsStayOnTheDevice) {
  const cuda::Stream stream, reader;
  stpl_options options = with("fixed:3");
  options.device = "cuda:0";
  options.scene_cuts = 0;
  options.device_labels = 1;
  options.cuda_stream = stream.handle();
  const Handle<stpl_segmenter> segmenter = open_segmenter(options);
  EXPECT_EQ(stpl_segmenter_cuda_stream(segmenter.get()), stream.handle());
  SegmenterOptions cpp_options = cpp_with("fixed:3");
  cpp_options.scene_cuts = false;
  Segmenter cpu(made_bundle("coarse"), cpp_options);
  for (int t = 0; t < 6; ++t) {
    const Picture picture = textured_picture(320, 192, 2 * t);
    const Result expected = cpu.push(picture.frame());
    const stpl_frame frame = on_device(picture);
    stpl_result* raw = nullptr;
    ASSERT_EQ(stpl_segmenter_order_after(segmenter.get(), reader.handle()), STPL_OK) << stpl_last_error();
    ASSERT_EQ(stpl_segmenter_push(segmenter.get(), &frame, nullptr, &raw), STPL_OK) << stpl_last_error();
    const Handle<stpl_result> result(raw);
    EXPECT_EQ(stpl_result_labels(raw).data, nullptr);
    const stpl_map labels = stpl_result_device_labels(raw), confidence = stpl_result_device_confidence(raw);
    ASSERT_EQ(Size({labels.width, labels.height}), Size({320, 192}));
    ASSERT_NE(confidence.data, nullptr);
    std::vector<std::uint8_t> copied(expected.labels.size());
    ASSERT_EQ(stpl_result_read_on(raw, reader.handle()), STPL_OK) << stpl_last_error();
    cuda::copy_bytes(copied.data(), labels.data, copied.size(), reader.handle());
    reader.wait();
    ASSERT_EQ(stpl_result_wait(raw), STPL_OK) << stpl_last_error();
    int is_ready = 0;
    ASSERT_EQ(stpl_result_is_ready(raw, &is_ready), STPL_OK) << stpl_last_error();
    EXPECT_EQ(is_ready, 1);
    EXPECT_EQ(stpl_result_device(raw), 0);
    EXPECT_EQ(stpl_result_stream(raw), stream.handle());
    ASSERT_EQ(stpl_result_precede(raw, reader.handle()), STPL_OK) << stpl_last_error();
    std::vector<std::uint8_t> on_host(copied.size());
    ASSERT_EQ(stpl_result_copy_labels(raw, on_host.data(), on_host.size()), STPL_OK) << stpl_last_error();
    EXPECT_EQ(on_host, copied);
    ASSERT_EQ(stpl_result_copy_confidence(raw, on_host.data(), on_host.size()), STPL_OK) << stpl_last_error();
    int differing = 0;
    for (std::size_t i = 0; i < copied.size(); ++i)
      differing += copied[i] != expected.labels.bytes()[i] ? 1 : 0;
    EXPECT_LE(differing, 6) << t;
  }
}

TEST(DeviceCApi, RefusesWhatItMust) {
  stpl_options options = with("every");
  const Handle<stpl_segmenter> cpu = open_segmenter(options);
  EXPECT_EQ(stpl_segmenter_cuda_stream(cpu.get()), nullptr);
  EXPECT_EQ(stpl_segmenter_queue(cpu.get()), options.queue);
  expect_failure(stpl_segmenter_order_after(cpu.get(), nullptr), STPL_UNSUPPORTED, {"order_after"});
  expect_failure(stpl_result_wait(nullptr), STPL_INVALID_ARGUMENT, {"result", "NULL"});
  const Picture picture = textured_picture(96, 64);
  stpl_frame frame = on_device(picture);
  stpl_result* result = nullptr;
  expect_failure(stpl_segmenter_push(cpu.get(), &frame, nullptr, &result), STPL_INVALID_ARGUMENT,
                 {"device memory"});
  const int number = 7;  // no enumerator
  std::memcpy(&frame.memory, &number, sizeof(number));
  expect_failure(stpl_segmenter_push(cpu.get(), &frame, nullptr, &result), STPL_INVALID_ARGUMENT,
                 {"memory", "0 to 2", "7"});
}

}  // namespace
}  // namespace stpl_rt::test
