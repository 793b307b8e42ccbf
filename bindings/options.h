// What Python passes for the options of the runtime.
#pragma once

#include <stpl_rt/options.h>

#include <optional>
#include <string>

#include "core/thread_pool.h"

namespace stpl_rt::bindings {

// None, or the text that Schedule::parse() takes.
std::optional<Schedule> parse_schedule(const std::optional<std::string>& text);

// The pool of `threads` threads (0: the cores this process may use) that single calls share: starting threads
// takes longer than most of them. Throws Error(invalid_argument) if negative.
ThreadPool& shared_pool(int threads);

}  // namespace stpl_rt::bindings
