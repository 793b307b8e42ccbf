#include "engine/plan_cache.h"

#include <fcntl.h>
#include <stpl_rt/error.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "core/sha256.h"
#include "text/printable.h"

namespace stpl_rt {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxSidecar = 1U << 20;
constexpr std::uintmax_t kMaxPlan = std::uintmax_t{16} << 30;
constexpr std::size_t kMostReasons = 4;
constexpr std::size_t kShown = 200;

std::string hash_of(const std::string& bytes) {
  return sha256({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
}

fs::path sidecar_of(const fs::path& plan) { return plan.string() + ".json"; }

// Why a file must not be trusted as the user's own, or is too large to be what it is said to be.
std::optional<std::string> file_fault(const fs::path& file, std::uintmax_t most) {
  struct stat status = {};
  const std::string name = printable(file.filename().string(), kShown);
  if (lstat(file.c_str(), &status) != 0) return name + ": expected a file, found none";
  if (!S_ISREG(status.st_mode)) return name + ": expected a regular file, found a link or something else";
  const bool foreign = status.st_uid != geteuid() && status.st_uid != 0;
  if (foreign || (status.st_mode & S_IWOTH) != 0) {
    return name + ": expected a file that nobody else may write, found one of user " +
           std::to_string(status.st_uid) + " that others may; a plan is code";
  }
  if (static_cast<std::uintmax_t>(status.st_size) > most) {
    return name + ": expected at most " + std::to_string(most) + " bytes, found " +
           std::to_string(status.st_size);
  }
  return std::nullopt;
}

std::optional<std::string> read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(stream), {});
  if (!stream) return std::nullopt;
  return bytes;
}

PlanSearch refused(const std::string& reason) { return {.plan = std::nullopt, .reasons = {reason}}; }

[[noreturn]] void fail_to_write(const fs::path& file) {
  throw Error(ErrorCode::io, "expected to write " + file.string() +
                                 ", found that it cannot be; set XDG_CACHE_HOME to a folder of yours");
}

bool write_all(int descriptor, const std::string& content) {
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t written = write(descriptor, content.data() + done, content.size() - done);
    if (written <= 0) return false;
    done += static_cast<std::size_t>(written);
  }
  return fsync(descriptor) == 0;
}

// To a temporary name first, then renamed.
void write_whole(const fs::path& file, const std::string& content) {
  std::string temporary = (file.parent_path() / ("." + file.filename().string() + ".XXXXXX")).string();
  const int descriptor = mkostemp(temporary.data(), O_CLOEXEC);  // mode 0600
  if (descriptor < 0) fail_to_write(file);
  const bool whole = write_all(descriptor, content);
  const bool closed = close(descriptor) == 0;
  if (!whole || !closed || std::rename(temporary.c_str(), file.c_str()) != 0) {
    (void)unlink(temporary.c_str());
    fail_to_write(file);
  }
}

// The entries of a folder, sorted; none where it cannot be read.
std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    entries.push_back(it->path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

// The plans of one network, whatever their library and target.
std::vector<fs::path> plans_of(const fs::path& folder, const PlanRequest& request) {
  const NetworkSpec& network = request.network;
  const std::string start = network.name + "-" + network.sha256.substr(0, 16) + "-";
  const fs::path own = plan_file(own_identity(request));
  std::vector<fs::path> targets = entries_of(folder);
  std::stable_partition(targets.begin(), targets.end(),
                        [&](const fs::path& path) { return path.filename() == *own.begin(); });
  std::vector<fs::path> plans;
  for (const fs::path& target : targets) {
    for (const fs::path& library : entries_of(target)) {
      for (const fs::path& file : entries_of(library)) {
        if (file.extension() == ".plan" && file.filename().string().starts_with(start)) plans.push_back(file);
      }
    }
  }
  std::stable_partition(plans.begin(), plans.end(),
                        [&](const fs::path& path) { return path == folder / own; });
  return plans;
}

}  // namespace

fs::path plans_folder() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  // The XDG specification: a relative path is to be ignored.
  if (cache != nullptr && fs::path(cache).is_absolute()) return fs::path(cache) / "stpl" / "plans";
  if (home != nullptr && fs::path(home).is_absolute()) return fs::path(home) / ".cache" / "stpl" / "plans";
  throw Error(
      ErrorCode::io,
      "expected a folder for TensorRT plans in XDG_CACHE_HOME or HOME, found neither; set one of them");
}

fs::path plan_file(const PlanIdentity& identity) {
  const std::string name = identity.network + "-" + identity.network_sha256.substr(0, 16) + "-" +
                           identity.precision + "-" + hash_of(identity.settings).substr(0, 8) + ".plan";
  return fs::path(identity.target) / (identity.library + "-" + identity.library_version) / name;
}

PlanSearch load_plan(const fs::path& file, const PlanRequest& request, const std::string& sha256) {
  const fs::path beside = sidecar_of(file);
  const std::string name = printable(file.filename().string(), kShown);
  if (auto fault = file_fault(beside, kMaxSidecar)) return refused(*fault);
  if (auto fault = file_fault(file, kMaxPlan)) return refused(*fault);
  const auto text = read_file(beside);
  if (!text) return refused(beside.filename().string() + ": cannot be read");
  PlanSidecar sidecar;
  try {
    sidecar = parse_sidecar(*text, printable(beside.filename().string(), kShown));
  } catch (const Error& error) {
    return refused(error.what());
  }
  if (auto fault = plan_fault(sidecar, request)) return refused(name + ": " + *fault);
  auto bytes = read_file(file);
  if (!bytes) return refused(name + ": cannot be read");
  if (bytes->size() != sidecar.plan_bytes) {
    return refused(name + ": expected " + std::to_string(sidecar.plan_bytes) + " bytes, found " +
                   std::to_string(bytes->size()) + "; it is cut off or another one");
  }
  const std::string found = hash_of(*bytes);
  const std::string& expected =
      found == sidecar.plan_sha256 && !sha256.empty() ? sha256 : sidecar.plan_sha256;
  if (found != expected) {
    return refused(name + ": expected SHA-256 " + expected + ", found " + found +
                   "; it is damaged or another one");
  }
  return {.plan = Plan{.file = file, .bytes = std::move(*bytes), .dla_core = dla_core_of(sidecar.identity)},
          .reasons = {}};
}

PlanSearch find_plan(const fs::path& folder, const PlanRequest& request) {
  PlanSearch all;
  for (const fs::path& file : plans_of(folder, request)) {
    PlanSearch one = load_plan(file, request);
    if (one.plan) return one;
    if (all.reasons.size() < kMostReasons) all.reasons.push_back(one.reasons.front());
  }
  return all;
}

fs::path write_plan(const fs::path& folder, const PlanIdentity& identity, const std::string& bytes,
                    const std::vector<PlanTensor>& tensors) {
  fs::path file = folder / plan_file(identity);
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (error) fail_to_write(file);
  const PlanSidecar sidecar{
      .identity = identity, .tensors = tensors, .plan_bytes = bytes.size(), .plan_sha256 = hash_of(bytes)};
  write_whole(file, bytes);
  write_whole(sidecar_of(file), to_json(sidecar));
  return file;
}

}  // namespace stpl_rt
