// Words that Python passes for the options of the runtime.
#pragma once

#include <optional>
#include <string>

#include <stpl_rt/options.h>

namespace stpl_rt::bindings {

// `threads` of a call or object: 0 means the cores this process may use; throws Error(invalid_argument) below 0.
int resolve_threads(int threads);

// None or the text that Schedule::parse() takes.
std::optional<Schedule> parse_schedule(const std::optional<std::string>& text);

}  // namespace stpl_rt::bindings
