// The C interface with handles that free themselves, and its results against those of the C++ one.
#pragma once

#include <stpl_rt/c_api.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "test_bundle.h"

namespace stpl_rt::test {

struct Free {
  void operator()(stpl_bundle* bundle) const { stpl_bundle_free(bundle); }
  void operator()(stpl_segmenter* segmenter) const { stpl_segmenter_free(segmenter); }
  void operator()(stpl_result* result) const { stpl_result_free(result); }
};
template <class T>
using Handle = std::unique_ptr<T, Free>;

// What an output holds that a failed call must not write.
template <class T>
T* untouched() {
  static char place;
  return reinterpret_cast<T*>(&place);
}

inline std::string coarse_bundle() { return made_bundle("coarse").string(); }

// The call failed with `status`, and the message contains all of `parts`.
inline void expect_failure(stpl_status found, stpl_status status, const std::vector<std::string>& parts) {
  EXPECT_STREQ(stpl_status_name(found), stpl_status_name(status)) << stpl_last_error();
  for (const std::string& part : parts) {
    EXPECT_NE(std::string(stpl_last_error()).find(part), std::string::npos)
        << "no \"" << part << "\" in: " << stpl_last_error();
  }
}

inline stpl_options with(const char* schedule) {
  stpl_options options = stpl_default_options();
  options.schedule = schedule;
  options.threads = 2;
  options.confidence = 1;
  return options;
}
inline SegmenterOptions cpp_with(const char* schedule) {
  return {.schedule = Schedule::parse(schedule), .threads = 2, .confidence = true};
}

inline Handle<stpl_bundle> open_bundle() {
  stpl_bundle* bundle = nullptr;
  EXPECT_EQ(stpl_bundle_open(coarse_bundle().c_str(), &bundle), STPL_OK) << stpl_last_error();
  return Handle<stpl_bundle>(bundle);
}
inline Handle<stpl_segmenter> open_segmenter(const stpl_options& options) {
  stpl_segmenter* segmenter = nullptr;
  EXPECT_EQ(stpl_segmenter_open(coarse_bundle().c_str(), &options, &segmenter), STPL_OK) << stpl_last_error();
  return Handle<stpl_segmenter>(segmenter);
}
inline Handle<stpl_result> push(const Handle<stpl_segmenter>& segmenter, const stpl_frame& frame,
                                const stpl_frame_info* info = nullptr) {
  stpl_result* result = nullptr;
  EXPECT_EQ(stpl_segmenter_push(segmenter.get(), &frame, info, &result), STPL_OK) << stpl_last_error();
  return Handle<stpl_result>(result);
}
inline Handle<stpl_result> collect(const Handle<stpl_segmenter>& segmenter) {
  stpl_result* result = nullptr;
  EXPECT_EQ(stpl_segmenter_collect(segmenter.get(), &result), STPL_OK) << stpl_last_error();
  return Handle<stpl_result>(result);
}

inline stpl_frame c_frame(const Frame& frame) {
  stpl_frame out = stpl_rgb_frame(frame.data, frame.width, frame.height);
  out.stride = frame.stride;
  out.format = static_cast<stpl_pixel_format>(frame.format);
  out.chroma = frame.chroma;
  out.chroma_cr = frame.chroma_cr;
  out.chroma_stride = frame.chroma_stride;
  out.encoding = static_cast<stpl_yuv_encoding>(frame.encoding);
  return out;
}
inline stpl_frame c_frame(const Picture& picture) { return c_frame(picture.frame()); }

inline std::vector<Picture> drive(int count) {
  std::vector<Picture> pictures;
  for (int t = 0; t < count; ++t) pictures.push_back(textured_picture(320, 192, 2 * t));
  return pictures;
}

inline void expect_map(const stpl_map& found, const ByteMap& expected) {
  ASSERT_EQ(found.width, expected.width());
  ASSERT_EQ(found.height, expected.height());
  ASSERT_EQ(found.data == nullptr, expected.empty());
  if (found.data == nullptr) return;
  EXPECT_EQ(std::memcmp(found.data, expected.data(), expected.size()), 0);
}

inline KeyReason cpp_reason(stpl_key_reason reason) {
  switch (reason) {
    case STPL_KEY_NONE:
      return KeyReason::none;
    case STPL_KEY_FIRST:
      return KeyReason::first;
    case STPL_KEY_SCHEDULE:
      return KeyReason::schedule;
    case STPL_KEY_DRIFT:
      return KeyReason::drift;
    case STPL_KEY_SCENE_CUT:
      return KeyReason::scene_cut;
    case STPL_KEY_GAP:
      return KeyReason::gap;
    case STPL_KEY_SIZE_CHANGE:
      return KeyReason::size_change;
  }
  ADD_FAILURE() << "an unknown reason";
  return KeyReason::none;
}

// All but the times, which need only be of the same stages.
inline void expect_same(const Handle<stpl_result>& found, const Result& expected) {
  ASSERT_NE(found, nullptr);
  expect_map(stpl_result_labels(found.get()), expected.labels);
  expect_map(stpl_result_confidence(found.get()), expected.confidence);
  EXPECT_EQ(cpp_reason(stpl_result_key_reason(found.get())), expected.key_reason);
  EXPECT_EQ(stpl_result_is_key(found.get()), expected.is_key ? 1 : 0);
  EXPECT_EQ(stpl_result_age(found.get()), expected.age);
  EXPECT_EQ(stpl_result_drift(found.get()), expected.drift);
  EXPECT_EQ(stpl_result_frame_index(found.get()), expected.frame_index);
  const stpl_timing timing = stpl_result_timing(found.get());
  EXPECT_EQ(timing.preprocess_ms > 0, expected.timing.preprocess_ms > 0);
  EXPECT_EQ(timing.flow_ms > 0, expected.timing.flow_ms > 0);
  EXPECT_EQ(timing.network_ms > 0, expected.timing.network_ms > 0);
  EXPECT_GT(timing.sample_ms, 0);
  EXPECT_GT(timing.total_ms, timing.sample_ms);
}

}  // namespace stpl_rt::test
