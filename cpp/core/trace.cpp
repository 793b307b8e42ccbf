#include "core/trace.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

namespace stpl_rt {
namespace {

// What comes later is left out, and counted, so that a forgotten variable fills no memory. An hour of 30 Hz
// video has a million stages, and as many kernels.
constexpr std::size_t kMostEvents = 1 << 21;

struct Event {
  const char* name;
  int thread;
  double begin_us;
  double length_us;
};

// Small numbers in the order of first use: what the viewer shows as rows.
int thread_number() noexcept {
  static std::atomic<int> count{0};
  thread_local const int number = ++count;
  return number;
}

struct Recorder {
  explicit Recorder(const char* path) : file(path) { events.reserve(4096); }

  // A forked child has the parent's events, and maybe a lock that nobody lets go of: it records nothing.
  [[nodiscard]] bool is_here() const noexcept { return process == getpid(); }

  const pid_t process = getpid();
  const std::string file;
  const Trace::Time start = std::chrono::steady_clock::now();
  std::mutex mutex;
  std::vector<Event> events;
  std::size_t left_out = 0;
  bool failed = false;

  void write() {
    const std::lock_guard lock(mutex);
    if (failed) return;
    const std::string temporary = file + "." + std::to_string(getpid()) + ".part";
    std::FILE* const out = std::fopen(temporary.c_str(), "w");
    if (out == nullptr) return fail();
    std::fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", out);
    const char* separator = "\n";
    for (const Event& event : events) {
      std::fprintf(out, "%s{\"name\":\"%s\",\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f}",
                   separator, event.name, process, event.thread, event.begin_us, event.length_us);
      separator = ",\n";
    }
    std::fprintf(out, "\n],\"otherData\":{\"events left out\":%zu}}\n", left_out);
    const bool whole = std::fflush(out) == 0 && std::ferror(out) == 0;
    std::fclose(out);
    std::error_code error;
    if (whole) std::filesystem::rename(temporary, file, error);
    if (!whole || error) fail();
  }

  void fail() {
    failed = true;
    std::fprintf(stderr, "stpl_rt: STPL_RT_TRACE: %s cannot be written; tracing is off\n", file.c_str());
  }
};

// Lives until the program ends, so that threads that end later can still add.
Recorder* recorder() noexcept {
  static Recorder* const instance = []() -> Recorder* {
    const char* const path = std::getenv("STPL_RT_TRACE");
    if (path == nullptr || *path == '\0') return nullptr;
    try {
      auto* const made = new Recorder(path);
      std::atexit([] { Trace::write(); });
      return made;
    } catch (const std::exception&) {
      return nullptr;
    }
  }();
  return instance;
}

double microseconds(Trace::Time::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

}  // namespace

bool Trace::enabled() noexcept { return recorder() != nullptr; }

void Trace::add(const char* name, Time begin, Time end) noexcept {
  Recorder* const to = recorder();
  if (to == nullptr || !to->is_here()) return;
  try {
    const std::lock_guard lock(to->mutex);
    if (to->events.size() >= kMostEvents) {
      ++to->left_out;
      return;
    }
    to->events.push_back({name, thread_number(), microseconds(begin - to->start), microseconds(end - begin)});
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): out of memory: a span less
  }
}

void Trace::write() noexcept {
  Recorder* const to = recorder();
  if (to == nullptr || !to->is_here()) return;
  try {
    to->write();
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): tracing breaks nothing
  }
}

}  // namespace stpl_rt
