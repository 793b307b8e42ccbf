// A folder that the fuzzers of files write to, and what they put there.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "requirement.h"

namespace stpl_rt::fuzz {

// Removed when the program ends.
class ScratchFolder {
 public:
  ScratchFolder() {
    const auto name = "stpl_rt_fuzz_" + std::to_string(getpid());
    // In memory where the system has such a folder: thousands of files a second.
    const std::filesystem::path memory = "/dev/shm";
    std::error_code error;
    if (std::filesystem::create_directory(memory / name, error) && !error) {
      path_ = memory / name;
    } else {
      path_ = std::filesystem::temp_directory_path() / name;
      std::filesystem::create_directory(path_);
    }
    path_ = std::filesystem::canonical(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void write_file(const std::filesystem::path& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  require(static_cast<bool>(file), "to be able to write " + path.string());
}

}  // namespace stpl_rt::fuzz
