// How many cores a control group leaves a process.
#pragma once

#include <filesystem>

namespace stpl_rt {

// The least that the process's group (version 2, the line "0::PATH" of `membership`) and the groups above it
// allow, as whole cores; 0 where none has a quota. `root`: where the groups are mounted. In a container the
// path is often another one than what is mounted there: then the root's own quota is the container's.
int quota_threads(const std::filesystem::path& membership, const std::filesystem::path& root);

}  // namespace stpl_rt
