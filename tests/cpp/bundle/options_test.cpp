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
  for (const char* text : {"", "Every", "fixed", "fixed:", "fixed:0", "fixed:-1", "fixed:5 ", "fixed:+5",
                           "fixed:5x", "fixed:99999999999", "adaptive"}) {
    expect_error(ErrorCode::invalid_argument, {"\"every\" or \"fixed:K\"", text},
                 [&] { (void)Schedule::parse(text); });
  }
  expect_error(ErrorCode::invalid_argument, {"found 0"}, [] { (void)Schedule::fixed(0); });
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
