// The plan of a network for a GPU: found, or built.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/options.h>

#include "engine/engine.h"
#include "engine/plan_cache.h"

namespace stpl_rt {

// From the user's cache, else, as `options` allows, from the bundle or built now for the calling thread's
// GPU, `device` of them, and kept in the cache. Throws Error: unsupported with what was found instead and
// what to do, and what build_plan() and write_plan() throw.
Plan obtain_plan(const NetworkSpec& network, int device, Precision precision, const PlanOptions& options);

}  // namespace stpl_rt
