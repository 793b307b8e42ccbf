#include "text/printable.h"

#include <gtest/gtest.h>

namespace stpl_rt::test {
namespace {

TEST(Printable, LeavesNothingThatATerminalObeys) {
  EXPECT_EQ(printable("Conv \"a\"", 100), "Conv \"a\"");
  EXPECT_EQ(printable("a\nb", 100), "a b");
  EXPECT_EQ(printable(std::string_view("\x1b[2J\0\xff\x7f", 7), 100), "\\x1b[2J\\x00\\xff\\x7f");
}

TEST(Printable, ShortensWhatIsLong) {
  EXPECT_EQ(printable("abcd", 4), "abcd");
  EXPECT_EQ(printable("abcde", 4), "abcd...");
}

}  // namespace
}  // namespace stpl_rt::test
