// The user's own TensorRT plans. A plan is code, so it is read only from where nobody else writes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/plan_sidecar.h"

namespace stpl_rt {

// $XDG_CACHE_HOME/stpl/plans, or ~/.cache/stpl/plans. Throws Error(io) where neither is set.
std::filesystem::path plans_folder();

// Where a plan lies under the folder of plans: TARGET/LIBRARY-VERSION/NETWORK-HASH-PRECISION-SETTINGS.plan.
std::filesystem::path plan_file(const PlanIdentity& identity);

// A plan that fits what was asked for, its bytes those that its sidecar names.
struct Plan {
  std::filesystem::path file;
  std::string bytes;
  std::optional<int> dla_core = std::nullopt;  // see dla_core_of()
};

// A plan, or why there is none.
struct PlanSearch {
  std::optional<Plan> plan;
  std::vector<std::string> reasons;  // of plans of the same network that do not fit
};

// The plan in `file`, whose JSON lies beside it; neither may be a link. `sha256`: what it must have; empty:
// what its sidecar says. Throws nothing for what the files hold.
PlanSearch load_plan(const std::filesystem::path& file, const PlanRequest& request,
                     const std::string& sha256 = "");
// The first that fits under `folder`: the one that stpl_rt would build itself, before those with other
// settings and for other devices too.
PlanSearch find_plan(const std::filesystem::path& folder, const PlanRequest& request);

// Writes a plan and its sidecar under `folder`, each whole or not at all, readable by the user alone. The
// sidecar comes last and carries the plan's hash: a process that is killed between them leaves a plan that
// does not fit its sidecar. Throws Error(io). Returns the plan's file.
std::filesystem::path write_plan(const std::filesystem::path& folder, const PlanIdentity& identity,
                                 const std::string& bytes, const std::vector<PlanTensor>& tensors);

}  // namespace stpl_rt
