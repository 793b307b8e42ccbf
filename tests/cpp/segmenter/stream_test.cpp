// Schedules, lag, gaps, queues and shared networks.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "ops/sample_argmax.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

SegmenterOptions with(const std::string& schedule) {
  return {.schedule = Schedule::parse(schedule), .threads = 2, .confidence = true};
}

std::vector<Picture> drive(int count, double speed = 2) {
  std::vector<Picture> pictures;
  for (int t = 0; t < count; ++t) pictures.push_back(textured_picture(320, 192, speed * t));
  return pictures;
}

std::vector<Result> push_all(Segmenter& segmenter, const std::vector<Picture>& pictures) {
  std::vector<Result> results;
  for (const Picture& picture : pictures) results.push_back(segmenter.push(picture.frame()));
  return results;
}

std::vector<int> ages(const std::vector<Result>& results) {
  std::vector<int> found;
  for (const Result& result : results) found.push_back(result.age);
  return found;
}

std::vector<int> keys(const std::vector<Result>& results) {
  std::vector<int> found;
  for (const Result& result : results) found.push_back(result.is_key ? 1 : 0);
  return found;
}

void expect_same(const std::vector<Result>& a, const std::vector<Result>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].labels, b[i].labels) << "frame " << i;
    EXPECT_EQ(a[i].confidence, b[i].confidence) << "frame " << i;
    EXPECT_EQ(a[i].key_reason, b[i].key_reason) << "frame " << i;
  }
}

// --- adaptive ---

TEST(Adaptive, RunsTheNetworkWhereThePictureDrifts) {
  std::vector<Picture> pictures = drive(6, 0.5);  // slow, then fast
  for (int t = 1; t <= 6; ++t) pictures.push_back(textured_picture(320, 192, 2.5 + 12 * t));
  Segmenter segmenter(made_bundle("coarse"), with("adaptive:0.3:100"));
  const std::vector<Result> results = push_all(segmenter, pictures);
  EXPECT_EQ(results.front().key_reason, KeyReason::first);
  int slow = 0, fast = 0;
  for (std::size_t i = 1; i < results.size(); ++i) {
    EXPECT_TRUE(results[i].key_reason == KeyReason::none || results[i].key_reason == KeyReason::drift);
    EXPECT_EQ(results[i].is_key, results[i].drift > 0.3) << "frame " << i;
    (i < 6 ? slow : fast) += results[i].is_key ? 1 : 0;
  }
  EXPECT_EQ(slow, 0);
  EXPECT_GE(fast, 2);
}

// --- flow that is checked ---

TEST(FlowCheck, TakesConfidenceAndLeavesLabels) {
  SegmenterOptions options = with("fixed:4");
  Segmenter plain(made_bundle("coarse"), options);
  options.flow_check = true;
  Segmenter checked(made_bundle("coarse"), options);
  int lower = 0;
  for (const Picture& picture : overtaken(4)) {
    const Result expected = plain.push(picture.frame()), found = checked.push(picture.frame());
    EXPECT_EQ(found.labels, expected.labels);
    for (std::size_t i = 0; i < found.confidence.size(); ++i) {
      ASSERT_LE(found.confidence.data()[i], expected.confidence.data()[i]);
      lower += found.confidence.data()[i] < expected.confidence.data()[i] ? 1 : 0;
    }
    EXPECT_GE(found.drift, expected.drift);
  }
  EXPECT_GT(lower, 1000);  // of 3 x 61440, about the thing that moves
}

TEST(FlowCheck, BringsTheNextKeyFrameForward) {
  SegmenterOptions options = with("adaptive:0.4:30");
  const std::vector<Picture> pictures = overtaken(16);
  Segmenter plain(made_bundle("coarse"), options);
  const std::vector<int> expected = keys(push_all(plain, pictures));
  options.flow_check = true;
  Segmenter checked(made_bundle("coarse"), options);
  const std::vector<int> found = keys(push_all(checked, pictures));
  EXPECT_GT(std::count(found.begin(), found.end(), 1), std::count(expected.begin(), expected.end(), 1));
}

TEST(FlowCheck, FlowFromElsewhereIsNotChecked) {
  const std::vector<Picture> pictures = overtaken(6);
  const std::vector<float> zeros(2 * 20 * 12, 0.F);
  const FlowView flow = {.data = zeros.data(), .width = 20, .height = 12};
  SegmenterOptions options = with("fixed:5");
  Segmenter plain(made_bundle("coarse"), options);
  options.flow_check = true;
  Segmenter checked(made_bundle("coarse"), options);
  std::vector<Result> expected, found;
  for (const Picture& picture : pictures) {
    expected.push_back(plain.push(picture.frame(), flow));
    found.push_back(checked.push(picture.frame(), flow));
  }
  expect_same(expected, found);
}

TEST(Adaptive, KeepsItsBoundOnAge) {
  Segmenter segmenter(made_bundle("coarse"), with("adaptive:9:4"));
  const std::vector<Picture> still(9, textured_picture(320, 192));
  const std::vector<Result> results = push_all(segmenter, still);
  EXPECT_EQ(ages(results), (std::vector<int>{0, 1, 2, 3, 0, 1, 2, 3, 0}));
  EXPECT_EQ(results[4].key_reason, KeyReason::schedule);
}

TEST(Adaptive, DriftGrowsWithTheWay) {
  Segmenter segmenter(made_bundle("coarse"), with("adaptive:9:100"));
  const std::vector<Result> results = push_all(segmenter, drive(8));
  for (std::size_t i = 1; i < results.size(); ++i) EXPECT_GT(results[i].drift, results[i - 1].drift);
}

// --- key_lag ---

TEST(KeyLag, AdoptsTheKeyFrameExactlyAfterItsFrames) {
  SegmenterOptions options = with("fixed:4");
  options.key_lag = 2;
  Segmenter segmenter(made_bundle("coarse"), options);
  const std::vector<Result> results = push_all(segmenter, drive(12));
  EXPECT_EQ(keys(results), (std::vector<int>{1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}));
  EXPECT_EQ(ages(results), (std::vector<int>{0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 2, 3}));
}

// After adoption a frame says what it would have said had the key frame been there all the time.
TEST(KeyLag, LabelsFromAdoptionOnAreThoseWithoutLag) {
  SegmenterOptions options = with("fixed:4");
  Segmenter prompt(made_bundle("coarse"), options);
  options.key_lag = 2;
  Segmenter late(made_bundle("coarse"), options);
  const std::vector<Picture> pictures = drive(12);
  const std::vector<Result> expected = push_all(prompt, pictures);
  const std::vector<Result> found = push_all(late, pictures);
  for (const std::size_t i : {0, 1, 2, 3, 6, 7, 10, 11}) {
    EXPECT_EQ(found[i].labels, expected[i].labels) << "frame " << i;
    EXPECT_EQ(found[i].confidence, expected[i].confidence) << "frame " << i;
  }
  EXPECT_NE(found[4].labels, expected[4].labels);
}

TEST(KeyLag, DoesNotDependOnHowFastTheNetworkIs) {
  SegmenterOptions options = with("adaptive:0.15:9");
  options.key_lag = 3;
  Segmenter quick(made_bundle("coarse"), options), slow(made_bundle("coarse"), options),
      waited(made_bundle("coarse"), options);
  const std::vector<Picture> pictures = drive(20, 3);
  std::vector<Result> found, found_waiting;
  for (const Picture& picture : pictures) {
    found.push_back(slow.push(picture.frame()));
    std::this_thread::sleep_for(std::chrono::milliseconds(found.size() % 3));
    found_waiting.push_back(waited.push(picture.frame()));
    waited.wait();
  }
  const std::vector<Result> expected = push_all(quick, pictures);
  expect_same(expected, found);
  expect_same(expected, found_waiting);
}

TEST(KeyLag, AFrameThatStartsAnewIsNotLate) {
  SegmenterOptions options = with("fixed:5");
  options.key_lag = 3;
  Segmenter segmenter(made_bundle("coarse"), options);
  std::vector<Picture> pictures = drive(7);  // the network of frame 5 is on its way
  for (int t = 0; t < 3; ++t) pictures.push_back(textured_picture(300, 200, t));
  const std::vector<Result> results = push_all(segmenter, pictures);
  EXPECT_EQ(results[7].key_reason, KeyReason::size_change);
  EXPECT_EQ(ages(results), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 0, 1, 2}));
  Segmenter fresh(made_bundle("coarse"), options);
  expect_same({push_all(fresh, {pictures[7], pictures[8], pictures[9]})[2]}, {results[9]});
}

TEST(KeyLag, MustBeLessThanTheInterval) {
  for (const char* schedule : {"every", "fixed:3", "adaptive:0.1:3"}) {
    SegmenterOptions options = with(schedule);
    options.key_lag = 3;
    expect_error(ErrorCode::invalid_argument, {"key_lag", "expected 0 to"},
                 [&] { Segmenter segmenter(made_bundle("coarse"), options); });
  }
}

// The late network is given up for a frame that then fails: what was on its way is lost, so all begins anew.
TEST(KeyLag, AFailureThatGivesALateNetworkUpEndsWithAKeyFrame) {
  SegmenterOptions options = with("fixed:5");
  options.key_lag = 2;
  Segmenter segmenter(made_bundle("fragile"), options);
  const Picture picture = textured_picture(96, 64), broken = mean_picture(96, 64);
  for (int t = 0; t < 6; ++t) {
    const Result result = segmenter.push(picture.frame(), {.timestamp = 0.1 * t, .flow = {}});
    EXPECT_EQ(result.is_key, t % 5 == 0);
  }
  expect_error(ErrorCode::engine, {"not finite"},
               [&] { (void)segmenter.push(broken.frame(), {.timestamp = 3.0, .flow = {}}); });
  const Result next = segmenter.push(picture.frame(), {.timestamp = 0.6, .flow = {}});
  EXPECT_EQ(next.key_reason, KeyReason::first);
  EXPECT_EQ(next.age, 0);
}

TEST(Queue, AForkedChildSeesNothingOfIt) {
  Segmenter segmenter(made_bundle("coarse"), with("every"));
  const Picture picture = textured_picture(96, 64);
  segmenter.submit(picture.frame());
  const pid_t child = fork();
  if (child == 0) _exit(segmenter.pending() == 0 ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(segmenter.pending(), 1U);
  (void)segmenter.collect();
}

TEST(SharedBundle, WhatWasChangedInItChangesNothingForSegmenters) {
  const Picture picture = textured_picture(320, 192);
  Bundle bundle = Bundle::open(made_bundle("coarse"));
  const Result expected = Segmenter(bundle, with("every")).push(picture.frame());
  bundle.input.width *= 8;
  bundle.logits.width *= 64;
  bundle.classes.resize(250);
  Segmenter segmenter(bundle, with("every"));
  EXPECT_EQ(segmenter.push(picture.frame()).labels, expected.labels);
  EXPECT_EQ(segmenter.bundle().input.width, 320);
  EXPECT_EQ(Segmenter(segmenter.bundle(), with("every")).push(picture.frame()).labels, expected.labels);
  const Bundle moved = std::move(bundle);
  expect_error(ErrorCode::invalid_argument, {"moved from"},
               [&] { const Segmenter refused(bundle, with("every")); });  // NOLINT(bugprone-use-after-move)
}

// --- timestamps ---

TEST(Timestamps, AGapIsAnsweredByAKeyFrame) {
  Segmenter segmenter(made_bundle("coarse"), with("fixed:50"));
  const std::vector<Picture> pictures = drive(9, 1);
  const std::vector<double> times = {10.0, 10.1, 10.2, 10.3, 10.5, 10.6, 11.0, 11.1, 11.05};
  std::vector<KeyReason> reasons;
  for (std::size_t i = 0; i < times.size(); ++i) {
    reasons.push_back(segmenter.push(pictures[i].frame(), {.timestamp = times[i], .flow = {}}).key_reason);
  }
  constexpr KeyReason no = KeyReason::none;
  EXPECT_EQ(reasons, (std::vector<KeyReason>{KeyReason::first, no, no, no, no, no, KeyReason::gap, no,
                                             KeyReason::gap}));
}

// One frame that is missing is bridged by the flow; two are a gap.
TEST(Timestamps, TwoMissingFramesAreAGapAndOneIsNot) {
  for (const int missing : {0, 1, 2, 3}) {
    Segmenter segmenter(made_bundle("coarse"), with("fixed:50"));
    const Picture picture = textured_picture(320, 192);
    for (int t = 0; t < 4; ++t) (void)segmenter.push(picture.frame(), {.timestamp = t / 30.0, .flow = {}});
    const double next = (4 + missing) / 30.0;
    EXPECT_EQ(segmenter.push(picture.frame(), {.timestamp = next, .flow = {}}).key_reason,
              missing < 2 ? KeyReason::none : KeyReason::gap)
        << missing;
  }
}

// 30 Hz with a standard deviation of 8 ms, a frame that is late, and one with the time of the one before.
TEST(Timestamps, JitterIsNoGap) {
  Segmenter segmenter(made_bundle("coarse"), with("fixed:1000"));
  std::mt19937 numbers(3);
  std::normal_distribution<double> jitter(0, 0.008);
  const Picture picture = textured_picture(96, 64);
  double last = 0;
  int keys = 0;
  for (int t = 0; t < 300; ++t) {
    double time = std::max(last, t / 30.0 + jitter(numbers));
    if (t == 100) time = last + 0.002;
    if (t == 200) time = last;
    keys += segmenter.push(picture.frame(), {.timestamp = time, .flow = {}}).is_key ? 1 : 0;
    last = time;
  }
  EXPECT_LE(keys, 2);
  EXPECT_EQ(segmenter.push(picture.frame(), {.timestamp = last + 0.2, .flow = {}}).key_reason,
            KeyReason::gap);
}

TEST(Timestamps, ThatAreNotFiniteAreRefused) {
  Segmenter segmenter(made_bundle("coarse"), with("fixed:5"));
  const std::vector<Picture> pictures = drive(2, 1);
  (void)segmenter.push(pictures[0].frame(), {.timestamp = 1.0, .flow = {}});
  constexpr double kEndless = std::numeric_limits<double>::infinity();
  for (const double time : {std::nan(""), kEndless, -kEndless}) {
    const FrameInfo info{.timestamp = time, .flow = {}};
    expect_error(ErrorCode::invalid_argument, {"timestamp", "finite"},
                 [&] { (void)segmenter.push(pictures[1].frame(), info); });
    expect_error(ErrorCode::invalid_argument, {"timestamp", "finite"},
                 [&] { segmenter.submit(pictures[1].frame(), info); });
  }
  EXPECT_EQ(segmenter.push(pictures[1].frame(), {.timestamp = 1.1, .flow = {}}).age, 1);
}

// --- submit and collect ---

TEST(Queue, GivesTheResultsOfPushInTheirOrder) {
  const std::vector<Picture> pictures = drive(15);
  Segmenter prompt(made_bundle("coarse"), with("fixed:4"));
  const std::vector<Result> expected = push_all(prompt, pictures);
  for (const int depth : {1, 2, 5}) {
    SegmenterOptions options = with("fixed:4");
    options.queue = depth;
    Segmenter segmenter(made_bundle("coarse"), options);
    std::vector<Result> found;
    for (const Picture& picture : pictures) {
      Picture lent = picture;
      while (!segmenter.try_submit(lent.frame())) found.push_back(segmenter.collect());
      std::fill(lent.rgb.begin(), lent.rgb.end(), 0);  // it was copied
    }
    EXPECT_LE(segmenter.pending(), static_cast<std::size_t>(depth));
    while (segmenter.pending() > 0) found.push_back(segmenter.collect());
    expect_same(expected, found);
  }
}

TEST(Queue, UsesPixelsWithAnOwnerWhereTheyLieAndLetsThemGo) {
  Segmenter segmenter(made_bundle("coarse"), with("every"));
  auto picture = std::make_shared<Picture>(textured_picture(320, 192, 3));
  segmenter.submit(picture->frame(), {}, picture);
  const Result result = segmenter.collect();
  EXPECT_EQ(picture.use_count(), 1);
  EXPECT_EQ(result.labels, segmenter.push(picture->frame()).labels);
}

int threads_of_this_process() {
  return static_cast<int>(std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator{}));
}

// What keeps a frame's pixels may keep the Segmenter too, and be let go by the Segmenter's own thread.
TEST(Queue, ASegmenterMayGoWithTheFrameThatHeldItLast) {
  struct Camera {
    Picture picture;
    Segmenter segmenter;
  };
  const Bundle bundle = Bundle::open(made_bundle("coarse"));
  Segmenter other(bundle, with("every"));  // whose engine's threads are there before and after
  (void)other.push(textured_picture(320, 192).frame());
  const int before = threads_of_this_process();
  auto camera =
      std::make_shared<Camera>(Camera{textured_picture(320, 192), Segmenter(bundle, with("fixed:3"))});
  const std::weak_ptr<Camera> left = camera;
  camera->segmenter.submit(camera->picture.frame(), {}, camera);
  camera.reset();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  // Its queue's thread and its kernels' end. One more may be the engine's, which makes them as it likes.
  const auto is_gone = [&] { return left.expired() && threads_of_this_process() <= before + 1; };
  while (!is_gone() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_TRUE(left.expired());
  EXPECT_LE(threads_of_this_process(), before + 1);
}

TEST(Queue, ItsOwnThreadCannotWaitForItself) {
  const Picture picture = textured_picture(320, 192);
  Segmenter segmenter(made_bundle("coarse"), with("every"));
  std::vector<ErrorCode> said;
  const auto ask = [&](auto&& call) {
    try {
      call();
    } catch (const Error& error) {
      said.push_back(error.code());
    }
  };
  std::shared_ptr<const void> owner(&picture, [&](const void*) {
    ask([&] { segmenter.wait(); });
    ask([&] { (void)segmenter.collect(); });
  });
  segmenter.submit(picture.frame(), {}, std::move(owner));
  (void)segmenter.collect();
  EXPECT_EQ(said, (std::vector{ErrorCode::in_use, ErrorCode::in_use}));
}

TEST(Queue, WaitReturnsWhenAllIsDone) {
  const std::vector<Picture> pictures = drive(4);
  Segmenter prompt(made_bundle("coarse"), with("fixed:4"));
  const std::vector<Result> expected = push_all(prompt, pictures);
  Segmenter segmenter(made_bundle("coarse"), with("fixed:4"));
  segmenter.wait();  // for nothing
  std::vector<std::weak_ptr<const Picture>> lent;
  for (const Picture& picture : pictures) {
    const auto copy = std::make_shared<const Picture>(picture);
    lent.emplace_back(copy);
    segmenter.submit(copy->frame(), {}, copy);
  }
  segmenter.wait();
  for (const auto& each : lent) EXPECT_TRUE(each.expired());
  EXPECT_EQ(segmenter.pending(), pictures.size());
  std::vector<Result> found;
  while (segmenter.pending() > 0) found.push_back(segmenter.collect());
  expect_same(expected, found);
}

TEST(Queue, AFailureComesInItsPlace) {
  Segmenter segmenter(made_bundle("fragile"), with("every"));
  const Picture picture = textured_picture(96, 64), broken = mean_picture(96, 64);
  for (const Picture* each : {&picture, &broken, &picture}) segmenter.submit(each->frame());
  EXPECT_EQ(segmenter.collect().frame_index, 0U);
  expect_error(ErrorCode::engine, {"not finite"}, [&] { (void)segmenter.collect(); });
  EXPECT_EQ(segmenter.collect().frame_index, 1U);
  expect_error(ErrorCode::invalid_argument, {"found none"}, [&] { (void)segmenter.collect(); });
}

TEST(Queue, AFrameThatCannotBeIsRefusedAtOnce) {
  Segmenter segmenter(made_bundle("coarse"), with("every"));
  const Frame lie{.data = textured_picture(2, 2).rgb.data(), .width = 16385, .height = 1 << 30};
  expect_error(ErrorCode::invalid_argument, {"16384"}, [&] { segmenter.submit(lie); });
  EXPECT_EQ(segmenter.pending(), 0U);
}

TEST(Queue, IsWaitedForAsLongAsPatienceLasts) {
  SegmenterOptions options = with("every");
  options.queue = 1;
  Segmenter segmenter(made_bundle("coarse"), options);
  const Picture picture = textured_picture(320, 192);
  EXPECT_TRUE(segmenter.try_submit(picture.frame()));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(segmenter.try_submit(picture.frame(), {}, nullptr, std::chrono::milliseconds(30)));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(30));
  EXPECT_EQ(segmenter.pending(), 1U);
  std::thread collector([&] { (void)segmenter.collect(); });
  EXPECT_TRUE(segmenter.try_submit(picture.frame(), {}, nullptr, std::chrono::milliseconds::max()));
  collector.join();
  EXPECT_EQ(segmenter.collect().frame_index, 1U);
}

// Of the second the nanoseconds come out positive where they overflow: a wait of centuries.
TEST(Queue, PatienceOfLessThanNothingIsNone) {
  SegmenterOptions options = with("every");
  options.queue = 1;
  Segmenter segmenter(made_bundle("coarse"), options);
  const Picture picture = textured_picture(320, 192);
  segmenter.submit(picture.frame());
  std::thread rescue([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    (void)segmenter.collect();
  });
  for (const std::int64_t patience :
       {std::numeric_limits<std::int64_t>::min(), std::int64_t{-13835058055283}}) {
    EXPECT_FALSE(segmenter.try_submit(picture.frame(), {}, nullptr, std::chrono::milliseconds(patience)));
  }
  rescue.join();
  EXPECT_EQ(segmenter.pending(), 0U);
}

TEST(Queue, PushIsRefusedWhileFramesAreOnTheirWay) {
  Segmenter segmenter(made_bundle("coarse"), with("every"));
  const Picture picture = textured_picture(320, 192);
  segmenter.submit(picture.frame());
  expect_error(ErrorCode::in_use, {"collect"}, [&] { (void)segmenter.push(picture.frame()); });
  expect_error(ErrorCode::in_use, {"collect"}, [&] { segmenter.reset(); });
  (void)segmenter.collect();
  (void)segmenter.push(picture.frame());
}

TEST(Queue, ASegmenterThatGoesDropsWhatWaits) {
  for (int round = 0; round < 3; ++round) {
    Segmenter segmenter(made_bundle("coarse"), with("fixed:3"));
    for (const Picture& picture : drive(4)) segmenter.submit(picture.frame());
  }
}

// --- networks that fail ---

TEST(NotFinite, IsReportedAndLeavesTheStreamAsItWas) {
  for (const char* schedule : {"every", "fixed:2"}) {
    Segmenter segmenter(made_bundle("fragile"), with(schedule));
    const Picture first = textured_picture(96, 64), second = textured_picture(96, 64, 1);
    const Result before = segmenter.push(first.frame());
    segmenter.reset();
    expect_error(ErrorCode::engine, {"not finite", "1536 of 1536"},
                 [&] { (void)segmenter.push(mean_picture(96, 64).frame()); });
    const Result after = segmenter.push(first.frame());
    EXPECT_EQ(after.frame_index, 1U);
    EXPECT_EQ(after.labels, before.labels);
    EXPECT_EQ(segmenter.push(second.frame()).frame_index, 2U);
  }
}

TEST(NotFinite, IsNotWhatLogitsGives) {
  for (const char* schedule : {"every", "fixed:2"}) {
    Segmenter segmenter(made_bundle("fragile"), with(schedule));
    const Picture picture = textured_picture(96, 64);
    std::vector<float> before, after;
    (void)segmenter.push(picture.frame());
    segmenter.logits(before);
    const Picture broken = mean_picture(48, 32);  // of another size, so that the network runs
    expect_error(ErrorCode::engine, {"not finite"}, [&] { (void)segmenter.push(broken.frame()); });
    if (segmenter.schedule().propagates()) {
      segmenter.logits(after);
      EXPECT_EQ(before, after);
    } else {
      expect_error(ErrorCode::invalid_argument, {"logits", "failure"}, [&] { segmenter.logits(after); });
    }
  }
}

TEST(NotFinite, InTheBackgroundEndsWithAKeyFrame) {
  SegmenterOptions options = with("fixed:3");
  options.key_lag = 1;
  options.scene_cuts = false;
  Segmenter segmenter(made_bundle("fragile"), options);
  std::vector<Picture> pictures(4, textured_picture(96, 64));
  pictures[3] = mean_picture(96, 64);
  const std::vector<Result> results = push_all(segmenter, pictures);
  EXPECT_TRUE(results[3].is_key);
  segmenter.wait();  // says nothing of it
  expect_error(ErrorCode::engine, {"not finite"}, [&] { (void)segmenter.push(pictures[0].frame()); });
  EXPECT_EQ(segmenter.push(pictures[0].frame()).key_reason, KeyReason::first);
}

// --- several streams ---

TEST(Streams, AloneAndBesideOthersAStreamSaysTheSame) {
  const Bundle bundle = Bundle::open(made_bundle("coarse"));
  std::vector<std::vector<Picture>> videos;
  std::vector<std::vector<Result>> expected;
  for (int stream = 0; stream < 4; ++stream) {
    std::vector<Picture> video;
    for (int t = 0; t < 12; ++t) video.push_back(textured_picture(200 + 40 * stream, 160, 2 * t, t, stream));
    Segmenter alone(made_bundle("coarse"), with("fixed:3"));
    expected.push_back(push_all(alone, video));
    videos.push_back(std::move(video));
  }
  std::vector<std::vector<Result>> found(videos.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < videos.size(); ++i) {
    threads.emplace_back([&, i] {
      Segmenter segmenter(bundle, with("fixed:3"));
      found[i] = push_all(segmenter, videos[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < videos.size(); ++i) expect_same(expected[i], found[i]);
}

TEST(Streams, OfOneBundleShareTheCompiledNetwork) {
  const TemporaryFolder folder;
  const fs::path copy = changed_bundle(folder, "coarse", [](nlohmann::json&) {});
  const Bundle bundle = Bundle::open(copy);
  SegmenterOptions options = with("every");
  {
    Segmenter first(bundle, options);
    fs::remove(copy / "segment.onnx");  // compiled once, it is not read again
    Segmenter second(bundle, options);
    const Picture picture = textured_picture(320, 192);
    EXPECT_EQ(first.push(picture.frame()).labels, second.push(picture.frame()).labels);
    options.threads = 1;  // another network
    expect_error(ErrorCode::io, {"segment.onnx"}, [&] { Segmenter third(bundle, options); });
    options.threads = 2;
  }
  // With the last of its streams it is gone.
  expect_error(ErrorCode::io, {"segment.onnx"}, [&] { Segmenter fourth(bundle, options); });
}

TEST(Streams, TwoThreadsInOneGetAnError) {
  Segmenter segmenter(made_bundle("coarse"), with("every"));
  const Picture picture = textured_picture(1600, 1200);
  std::atomic<int> refused{0}, done{0};
  const auto work = [&] {
    for (int i = 0; i < 30; ++i) {
      try {
        (void)segmenter.push(picture.frame());
        ++done;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::in_use);
        ++refused;
      }
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(done + refused, 60);
  EXPECT_GE(done, 1);
  EXPECT_GE(refused, 1);
}

// --- results and logits ---

TEST(Results, MemoryIsUsedAgainOnlyWhenNobodyHoldsIt) {
  Segmenter segmenter(made_bundle("coarse"), with("every"));
  const Result kept = segmenter.push(textured_picture(320, 192).frame());
  const std::vector<std::uint8_t> before(kept.labels.bytes().begin(), kept.labels.bytes().end());
  const std::uint8_t* released = nullptr;
  {
    const Result dropped = segmenter.push(textured_picture(320, 192, 9).frame());
    const ByteMap copy = dropped.labels;
    EXPECT_EQ(copy.data(), dropped.labels.data());
    released = copy.data();
  }
  const Result next = segmenter.push(textured_picture(320, 192, 30).frame());
  EXPECT_EQ(next.labels.data(), released);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), kept.labels.data()));
}

TEST(Results, OutliveTheirSegmenter) {
  Result result;
  {
    Segmenter segmenter(made_bundle("coarse"), with("every"));
    result = segmenter.push(textured_picture(320, 192).frame());
  }
  EXPECT_EQ(result.labels.size(), 320U * 192U);
  EXPECT_LT(*std::max_element(result.labels.bytes().begin(), result.labels.bytes().end()), 4);
}

TEST(Logits, AreTheNetworksOnKeyFramesAndCarriedBetween) {
  const Picture picture = textured_picture(320, 192);
  for (const char* schedule : {"every", "fixed:3"}) {
    Segmenter segmenter(made_bundle("coarse"), with(schedule));
    std::vector<float> logits;
    expect_error(ErrorCode::invalid_argument, {"found none"}, [&] { segmenter.logits(logits); });
    const Bundle& bundle = segmenter.bundle();
    const Reference reference(picture, bundle.input.width, bundle.input.height, bundle.logits.align_corners);
    for (int frame = 0; frame < 2; ++frame) {  // of a still picture the carried ones are the same
      (void)segmenter.push(picture.frame());
      segmenter.logits(logits);
      const int width = bundle.logits.width, height = bundle.logits.height;
      ASSERT_EQ(logits.size(), static_cast<std::size_t>(4 * width * height));
      for (int c = 0; c < 4; ++c) {
        for (int y = 0; y < height; ++y) {
          for (int x = 0; x < width; ++x) {
            ASSERT_NEAR(logits[static_cast<std::size_t>((c * height + y) * width + x)],
                        reference.logit(x, y)[c], 2e-3);
          }
        }
      }
    }
    segmenter.reset();
    expect_error(ErrorCode::invalid_argument, {"reset", "found none"}, [&] { segmenter.logits(logits); });
  }
}

// Also beside the picture, where a carried read would find its edge.
TEST(Logits, OfAKeyFrameAreTheNetworksInALetterboxToo) {
  const TemporaryFolder folder;
  const fs::path bundle =
      changed_bundle(folder, "coarse", [](nlohmann::json& m) { m["input"]["resize"] = "letterbox"; });
  const Picture picture = textured_picture(192, 192);
  std::vector<std::vector<float>> found;
  for (const char* schedule : {"every", "fixed:3"}) {
    Segmenter segmenter(bundle, with(schedule));
    (void)segmenter.push(picture.frame());
    segmenter.logits(found.emplace_back());
  }
  EXPECT_EQ(found[0], found[1]);
}

TEST(Logits, ThatAreTooManyToCarryAreRefusedAtOnce) {
  EXPECT_NO_THROW(PackedLogits::check_size(16, {8192, 8192}));
  expect_error(ErrorCode::invalid_argument, {"2^31 - 1", "2304000000"},
               [] { PackedLogits::check_size(1, {12000, 12000}); });
}

}  // namespace
}  // namespace stpl_rt::test
