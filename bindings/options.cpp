#include "options.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <stpl_rt/error.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/engine.h"
#include "module.h"

namespace stpl_rt::bindings {

namespace nb = nanobind;

std::optional<Schedule> parse_schedule(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return Schedule::parse(*text);
}

ThreadPool& shared_pool(int threads) {
  // Keyed by the process too: a forked child (a data loader's worker) has no threads of its parent's pools.
  // Never freed: joining threads while the process ends helps nobody.
  static std::mutex mutex;
  static auto* pools = new std::map<std::pair<pid_t, int>, std::unique_ptr<ThreadPool>>;
  if (threads == 0) threads = available_threads();
  const std::lock_guard lock(mutex);
  std::unique_ptr<ThreadPool>& pool = (*pools)[{getpid(), threads}];
  if (!pool) pool = std::make_unique<ThreadPool>(threads);
  return *pool;
}

void register_options(nb::module_& m) {
  m.def(
      "engines",
      [] {
        std::vector<std::string> names;
        if (has_cpu_engine()) names.emplace_back("openvino");
#ifdef STPL_RT_TENSORRT
        names.emplace_back("tensorrt");
#endif
        return names;
      },
      "Names of the inference engines in this build: 'openvino' for the device 'cpu', 'tensorrt' for "
      "'cuda:N'.");
}

}  // namespace stpl_rt::bindings
