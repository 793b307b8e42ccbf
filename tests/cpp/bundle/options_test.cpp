#include <stpl_rt/options.h>

#include "core/nearest.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

TEST(Schedule, ParsesWhatItPrints) {
  EXPECT_EQ(Schedule::parse("every").kind(), Schedule::Kind::every);
  EXPECT_EQ(Schedule::parse("fixed:5").interval(), 5);
  EXPECT_EQ(Schedule::parse("fixed:5").to_string(), "fixed:5");
  EXPECT_EQ(Schedule::every().to_string(), "every");
}

TEST(Schedule, RefusesOtherText) {
  for (const char* text :
       {"", "Every", "fixed", "fixed:", "fixed:0", "fixed:-1", "fixed:5 ", "fixed:+5", "fixed:5x",
        "fixed:99999999999", "adaptive:", "adaptive:1001", "adaptive:-0.1", "adaptive:nan", "adaptive:0.1:1",
        "adaptive:0.1:", "adaptive:0.1:5:5", "adaptiv"}) {
    expect_error(ErrorCode::invalid_argument, {"\"fixed:K\"", text}, [&] { (void)Schedule::parse(text); });
  }
  expect_error(ErrorCode::invalid_argument, {"found 0"}, [] { (void)Schedule::fixed(0); });
  expect_error(ErrorCode::invalid_argument, {"drift", "found 1001"}, [] { (void)Schedule::adaptive(1001); });
  expect_error(ErrorCode::invalid_argument, {"found 1"}, [] { (void)Schedule::adaptive(0.1, 1); });
}

TEST(Schedule, ReadsBackWhatItPrints) {
  for (const char* text : {"every", "fixed:7", "adaptive:0.1:5", "adaptive:0.4:30", "adaptive:12:100000"}) {
    EXPECT_EQ(Schedule::parse(text).to_string(), text);
  }
  EXPECT_EQ(Schedule::parse("adaptive").to_string(), Schedule::adaptive().to_string());
  EXPECT_EQ(Schedule::parse("adaptive:0.25").drift(), 0.25);
  EXPECT_EQ(Schedule::parse("adaptive:0.25").interval(), Schedule::kLongest);
}

TEST(Precision, ParsesWhatItPrints) {
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::f16}) {
    EXPECT_EQ(parse_precision(to_string(precision)), precision);
  }
  expect_error(ErrorCode::invalid_argument, {"fp32"}, [] { (void)parse_precision("fp32"); });
}

TEST(Suggest, NamesTheNearestWordOrAll) {
  const std::string_view known[] = {"width", "height"};
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(suggest("heigth", known), "did you mean \"height\"?");
  EXPECT_EQ(suggest("provenance", known), "known here: \"width\" \"height\"");
}

}  // namespace
}  // namespace stpl_rt::test
