#include "cli/arguments.h"

#include <gtest/gtest.h>

#include "cli/summary.h"

namespace stpl_rt::cli {
namespace {

TEST(Arguments, ReadsAll) {
  const Arguments a =
      parse_arguments({"b", "--schedule", "fixed:4", "--precision=bf16", "--threads", "3", "-", "--labels",
                       "l.y4m", "--confidence=c.pgm", "--format", "pgm", "--timings", "-", "--no-scene-cuts",
                       "--flow-check", "--build-engines", "--trust-engines"});
  EXPECT_EQ(a.bundle, "b");
  EXPECT_EQ(a.input, "-");
  EXPECT_EQ(a.options.schedule.value().to_string(), "fixed:4");
  EXPECT_EQ(a.options.precision, Precision::bf16);
  EXPECT_EQ(a.options.threads, 3);
  EXPECT_TRUE(a.options.confidence);
  EXPECT_FALSE(a.options.scene_cuts);
  EXPECT_TRUE(a.options.flow_check);
  EXPECT_TRUE(a.options.build_engines);
  EXPECT_TRUE(a.options.trust_engines);
  EXPECT_EQ(a.labels, "l.y4m");
  EXPECT_EQ(a.confidence, "c.pgm");
  EXPECT_EQ(a.format, MapFormat::pgm);
  EXPECT_EQ(a.timings, "-");
}

TEST(Arguments, HelpNeedsNothingElse) { EXPECT_TRUE(parse_arguments({"--help"}).help); }

TEST(Arguments, SaysWhatIsWrong) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{}, "found 0 arguments"},
      {{"a", "b", "c"}, "found 3 arguments"},
      {{"a", "b", "--shedule", "every"}, "did you mean \"--schedule\""},
      {{"a", "b", "--trust-engine"}, "did you mean \"--trust-engines\""},
      {{"a", "b", "--schedule", "sometimes"}, "--schedule: expected"},
      {{"a", "b", "--precision", "fp16"}, "--precision: expected"},
      {{"a", "b", "--threads", "two"}, "found \"two\""},
      {{"a", "b", "--threads", "-2"}, "found \"-2\""},
      {{"a", "b", "--format", "png"}, "found \"png\""},
      {{"a", "b", "--labels"}, "--labels: expected a value"},
      {{"a", "b", "--labels="}, "--labels: expected a value"},
      {{"a", "b", "--labels", "-", "--timings", "-"}, "given for two"},
  };
  for (const auto& [words, part] : cases) {
    try {
      (void)parse_arguments(words);
      ADD_FAILURE() << "accepted, expected: " << part;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

TEST(Summary, PercentilesAreNearestRank) {
  std::vector<double> values;
  for (int i = 200; i >= 1; --i) values.push_back(i);
  EXPECT_EQ(percentile(values, 50), 100);
  EXPECT_EQ(percentile(values, 99), 198);
  EXPECT_EQ(percentile({7}, 99), 7);
  EXPECT_EQ(percentile({}, 50), 0);
}

TEST(Summary, CountsFramesByKind) {
  Summary summary;
  Result result;
  result.is_key = true;
  result.key_reason = KeyReason::first;
  result.timing.total_ms = 10;
  summary.add(result);
  result = {};
  result.timing.total_ms = 2;
  summary.add(result);
  summary.add(result);
  const std::string text = summary.text(0.1);
  EXPECT_NE(text.find("3 frames, 1 of them keys (first 1)"), std::string::npos) << text;
  EXPECT_NE(text.find("214.3 frames/s in push, 30.0 with"), std::string::npos) << text;
  EXPECT_NE(text.find("p50 2.00 ms, p99 2.00 ms over 2"), std::string::npos) << text;
}

TEST(Summary, CountsEveryReason) {
  Summary summary;
  std::string expected;
  for (const KeyReason reason : {KeyReason::first, KeyReason::schedule, KeyReason::drift,
                                 KeyReason::scene_cut, KeyReason::gap, KeyReason::size_change}) {
    Result result;
    result.is_key = true;
    result.key_reason = reason;
    summary.add(result);
    expected += (expected.empty() ? "(" : ", ") + std::string(to_string(reason)) + " 1";
  }
  const std::string text = summary.text(0.1);
  EXPECT_NE(text.find(expected + ")"), std::string::npos) << text;
}

}  // namespace
}  // namespace stpl_rt::cli
