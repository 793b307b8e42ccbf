#include "core/trace.h"

#include <sys/wait.h>

#include <cstdlib>

#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

// What a forked child does to the trace, and then its parent; 0 where the parent's file is the parent's
// alone.
int trace_in_parent_and_child(const fs::path& file) {
  const auto now = std::chrono::steady_clock::now();
  Trace::add("before", now, now);
  const pid_t child = fork();
  if (child == 0) {
    Trace::add("child's", now, now);
    Trace::write();
    _exit(fs::exists(file) ? 1 : 0);
  }
  int status = -1;
  if (waitpid(child, &status, 0) != child || status != 0) return 1;
  Trace::add("after", now, now);
  Trace::write();
  const std::string text = read_text(file);
  const auto has = [&](const char* name) { return text.find(name) != std::string::npos; };
  return has("before") && has("after") && !has("child's") ? 0 : 2;
}

// In a process of its own: whether there is a trace is settled when the first event comes. One that is
// forked, not executed anew, which emulators cannot do: death tests run before all others, so that nothing
// was traced yet.
TEST(TraceDeathTest, AForkedChildLeavesTheParentsFileAlone) {
  GTEST_FLAG_SET(death_test_style, "fast");
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "trace.json";
  ASSERT_EQ(setenv("STPL_RT_TRACE", file.c_str(), 1), 0);
  EXPECT_EXIT(_exit(trace_in_parent_and_child(file)), testing::ExitedWithCode(0), "");
  unsetenv("STPL_RT_TRACE");
}

}  // namespace
}  // namespace stpl_rt::test
