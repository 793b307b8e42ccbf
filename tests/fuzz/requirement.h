// What must hold for every input: where it does not, the program ends as it does at a sanitizer's report.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace stpl_rt::fuzz {

inline void require(bool holds, const std::string& expected) {
  if (holds) return;
  std::fprintf(stderr, "expected %s\n", expected.c_str());
  std::abort();
}

}  // namespace stpl_rt::fuzz
