#include "core/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <fstream>
#include <string>

namespace stpl_rt {
namespace {

namespace fs = std::filesystem;

// 0: no quota.
int quota_of(const fs::path& group) {
  std::ifstream file(group / "cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  try {
    return std::max(1, static_cast<int>(std::ceil(std::stod(quota) / period)));
  } catch (const std::exception&) {
    return 0;
  }
}

// Of the process, relative to where groups are mounted; empty for the root, and where nothing is said.
fs::path group_of(const fs::path& membership) {
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::/")) return fs::path(line.substr(4)).lexically_normal();
  }
  return {};
}

}  // namespace

int quota_threads(const fs::path& membership, const fs::path& root) {
  int least = quota_of(root);
  fs::path group = root;
  for (const fs::path& part : group_of(membership)) {
    if (part == ".." || part.empty()) break;
    group /= part;
    const int quota = quota_of(group);
    if (quota > 0) least = least > 0 ? std::min(least, quota) : quota;
  }
  return least;
}

}  // namespace stpl_rt
