// submit, try_submit and collect in C: order, statuses, and pixels let go exactly once.
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>

#include "c_api/handles.h"

namespace stpl_rt::test {
namespace {

// Counts how often pixels were let go.
struct Lent {
  std::atomic<int> times{0};
  static void release(void* context) { ++static_cast<Lent*>(context)->times; }
};

Handle<stpl_segmenter> open_queue(const char* schedule, int most) {
  stpl_options options = with(schedule);
  options.queue = most;
  return open_segmenter(options);
}

TEST(CApiQueue, GivesTheResultsOfPushInTheirOrder) {
  const std::vector<Picture> pictures = drive(9);
  const Handle<stpl_segmenter> segmenter = open_queue("fixed:4", 3);
  Segmenter expected(coarse_bundle(), cpp_with("fixed:4"));
  std::size_t collected = 0;
  const auto collect_one = [&] {
    expect_same(collect(segmenter), expected.push(pictures[collected++].frame()));
  };
  for (const Picture& picture : pictures) {
    Picture lent = picture;
    const stpl_frame frame = c_frame(lent);
    stpl_status status = STPL_OK;
    while ((status = stpl_segmenter_try_submit(segmenter.get(), &frame, nullptr, nullptr, nullptr)) ==
           STPL_QUEUE_FULL) {
      EXPECT_EQ(stpl_segmenter_pending(segmenter.get()), 3U);
      collect_one();
    }
    ASSERT_EQ(status, STPL_OK) << stpl_last_error();
    std::fill(lent.rgb.begin(), lent.rgb.end(), 0);  // without release() it was copied
  }
  while (stpl_segmenter_pending(segmenter.get()) > 0) collect_one();
  EXPECT_EQ(collected, pictures.size());
}

TEST(CApiQueue, SubmitWaitsForRoom) {
  const Handle<stpl_segmenter> segmenter = open_queue("every", 1);
  const Picture picture = textured_picture(320, 192);
  const stpl_frame frame = c_frame(picture);
  std::thread other([&] {
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(stpl_segmenter_submit(segmenter.get(), &frame, nullptr, nullptr, nullptr), STPL_OK);
    }
  });
  for (std::uint64_t i = 0; i < 6;) {
    if (stpl_segmenter_pending(segmenter.get()) == 0) {
      std::this_thread::yield();
      continue;
    }
    EXPECT_LE(stpl_segmenter_pending(segmenter.get()), 1U);
    EXPECT_EQ(stpl_result_frame_index(collect(segmenter).get()), i++);
  }
  other.join();
}

TEST(CApiQueue, IsWaitedForAsLongAsPatienceLasts) {
  const Handle<stpl_segmenter> segmenter = open_queue("every", 1);
  const Picture picture = textured_picture(320, 192);
  const stpl_frame frame = c_frame(picture);
  Lent lent;
  const auto submit = [&](std::int64_t patience) {
    return stpl_segmenter_try_submit_for(segmenter.get(), &frame, nullptr, Lent::release, &lent, patience);
  };
  ASSERT_EQ(submit(0), STPL_OK) << stpl_last_error();
  const auto begin = std::chrono::steady_clock::now();
  expect_failure(submit(30), STPL_QUEUE_FULL, {"full"});
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(30));
  expect_failure(submit(std::numeric_limits<std::int64_t>::min()), STPL_QUEUE_FULL, {"full"});
  std::thread collector([&] { EXPECT_EQ(stpl_result_frame_index(collect(segmenter).get()), 0U); });
  EXPECT_EQ(submit(std::numeric_limits<std::int64_t>::max()), STPL_OK) << stpl_last_error();
  collector.join();
  EXPECT_EQ(stpl_result_frame_index(collect(segmenter).get()), 1U);
  EXPECT_EQ(lent.times, 4);
}

TEST(CApiQueue, WhileFramesAreOnTheirWayTheRestIsInUse) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("every"));
  const Picture picture = textured_picture(320, 192);
  const stpl_frame frame = c_frame(picture);
  (void)push(segmenter, frame);
  ASSERT_EQ(stpl_segmenter_submit(segmenter.get(), &frame, nullptr, nullptr, nullptr), STPL_OK);
  auto* result = untouched<stpl_result>();
  std::vector<float> logits(4U * 40U * 24U);
  expect_failure(stpl_segmenter_push(segmenter.get(), &frame, nullptr, &result), STPL_IN_USE, {"collect"});
  expect_failure(stpl_segmenter_reset(segmenter.get()), STPL_IN_USE, {"collect"});
  expect_failure(stpl_segmenter_logits(segmenter.get(), logits.data(), logits.size()), STPL_IN_USE,
                 {"collect"});
  EXPECT_EQ(result, untouched<stpl_result>());
  (void)collect(segmenter);
  EXPECT_EQ(stpl_segmenter_reset(segmenter.get()), STPL_OK);
  EXPECT_EQ(stpl_result_key_reason(push(segmenter, frame).get()), STPL_KEY_FIRST);
}

TEST(CApiQueue, CollectRefusesWhatCannotBe) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("every"));
  auto* result = untouched<stpl_result>();
  expect_failure(stpl_segmenter_collect(segmenter.get(), &result), STPL_INVALID_ARGUMENT, {"found none"});
  expect_failure(stpl_segmenter_collect(nullptr, &result), STPL_INVALID_ARGUMENT, {"segmenter", "NULL"});
  EXPECT_EQ(result, untouched<stpl_result>());
  const Picture picture = textured_picture(320, 192);
  const stpl_frame frame = c_frame(picture);
  ASSERT_EQ(stpl_segmenter_submit(segmenter.get(), &frame, nullptr, nullptr, nullptr), STPL_OK);
  expect_failure(stpl_segmenter_collect(segmenter.get(), nullptr), STPL_INVALID_ARGUMENT, {"out", "NULL"});
  EXPECT_EQ(stpl_segmenter_pending(segmenter.get()), 1U);  // it was not lost
  EXPECT_EQ(stpl_result_frame_index(collect(segmenter).get()), 0U);
}

TEST(CApiQueue, WaitReturnsWhenAllIsDone) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("every"));
  const Picture picture = textured_picture(320, 192);
  const stpl_frame frame = c_frame(picture);
  Lent lent;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(stpl_segmenter_submit(segmenter.get(), &frame, nullptr, &Lent::release, &lent), STPL_OK);
  }
  ASSERT_EQ(stpl_segmenter_wait(segmenter.get()), STPL_OK);
  EXPECT_EQ(lent.times, 3);
  EXPECT_EQ(stpl_segmenter_pending(segmenter.get()), 3U);
  for (std::uint64_t i = 0; i < 3; ++i) EXPECT_EQ(stpl_result_frame_index(collect(segmenter).get()), i);
  expect_failure(stpl_segmenter_wait(nullptr), STPL_INVALID_ARGUMENT, {"segmenter", "NULL"});
}

TEST(CApiQueue, AFailureComesInItsPlace) {
  const std::string bundle = made_bundle("fragile").string();
  stpl_segmenter* opened = nullptr;
  const stpl_options options = with("every");
  ASSERT_EQ(stpl_segmenter_open(bundle.c_str(), &options, &opened), STPL_OK);
  const Handle<stpl_segmenter> segmenter(opened);
  const Picture picture = textured_picture(96, 64), broken = mean_picture(96, 64);
  Lent lent;
  for (const Picture* each : {&picture, &broken, &picture}) {
    const stpl_frame frame = c_frame(*each);
    ASSERT_EQ(stpl_segmenter_submit(segmenter.get(), &frame, nullptr, Lent::release, &lent), STPL_OK);
  }
  EXPECT_EQ(stpl_result_frame_index(collect(segmenter).get()), 0U);
  auto* result = untouched<stpl_result>();
  expect_failure(stpl_segmenter_collect(segmenter.get(), &result), STPL_ENGINE, {"not finite"});
  EXPECT_EQ(result, untouched<stpl_result>());
  EXPECT_EQ(stpl_result_frame_index(collect(segmenter).get()), 1U);
  EXPECT_EQ(lent.times, 3);
}

// --- release ---

TEST(CApiRelease, PixelsAreUsedWhereTheyLieAndLetGoBeforeTheirResult) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("fixed:3"));
  Segmenter expected(coarse_bundle(), cpp_with("fixed:3"));
  for (const Picture& picture : drive(4)) {
    Lent lent;
    const stpl_frame frame = c_frame(picture);
    ASSERT_EQ(stpl_segmenter_submit(segmenter.get(), &frame, nullptr, Lent::release, &lent), STPL_OK);
    expect_same(collect(segmenter), expected.push(picture.frame()));
    EXPECT_EQ(lent.times, 1);
  }
}

TEST(CApiRelease, WhatIsRefusedIsLetGoOnce) {
  const Handle<stpl_segmenter> segmenter = open_queue("every", 1);
  const Picture picture = textured_picture(320, 192);
  const stpl_frame good = c_frame(picture);
  stpl_frame empty = good;
  empty.height = 0;
  const float far[2] = {1e9F, 0};
  stpl_frame_info lost = {};
  lost.flow = far;
  lost.flow_width = lost.flow_height = 1;

  for (auto* const submit : {stpl_segmenter_submit, stpl_segmenter_try_submit}) {
    const auto refused = [&](stpl_segmenter* to, const stpl_frame* frame, const stpl_frame_info* info,
                             const std::string& part) {
      Lent lent;
      expect_failure(submit(to, frame, info, Lent::release, &lent), STPL_INVALID_ARGUMENT, {part});
      EXPECT_EQ(lent.times, 1) << part;
      expect_failure(submit(to, frame, info, nullptr, nullptr), STPL_INVALID_ARGUMENT, {part});
    };
    refused(nullptr, &good, nullptr, "segmenter");
    refused(segmenter.get(), nullptr, nullptr, "frame");
    refused(segmenter.get(), &empty, nullptr, "320x0");
    refused(segmenter.get(), &good, &lost, "flow");
    EXPECT_EQ(stpl_segmenter_pending(segmenter.get()), 0U);
  }
  ASSERT_EQ(stpl_segmenter_submit(segmenter.get(), &good, nullptr, nullptr, nullptr), STPL_OK);
  Lent lent;
  expect_failure(stpl_segmenter_try_submit(segmenter.get(), &good, nullptr, Lent::release, &lent),
                 STPL_QUEUE_FULL, {"full"});
  EXPECT_EQ(lent.times, 1);
  (void)collect(segmenter);
}

TEST(CApiRelease, ASegmenterThatGoesLetsGoOfAllThatWaits) {
  const std::vector<Picture> pictures = drive(4);
  for (int round = 0; round < 3; ++round) {
    std::array<Lent, 4> lent;
    Handle<stpl_segmenter> segmenter = open_segmenter(with("fixed:3"));
    for (std::size_t i = 0; i < lent.size(); ++i) {
      const stpl_frame frame = c_frame(pictures[i]);
      ASSERT_EQ(stpl_segmenter_submit(segmenter.get(), &frame, nullptr, Lent::release, &lent[i]), STPL_OK);
    }
    segmenter.reset();
    for (const Lent& each : lent) EXPECT_EQ(each.times, 1);
  }
}

}  // namespace
}  // namespace stpl_rt::test
