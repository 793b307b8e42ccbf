// Where the figures of a benchmark in C++ go: with `--json FILE` to that file, which is written anew after
// each row, so that whatever stops the program later costs no row; without it to standard output, at the end.
#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/image.h"

namespace stpl_rt::bench {

inline std::string name_of(Size size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

// Rows in groups.
class Figures {
 public:
  // Empty: to standard output.
  explicit Figures(std::filesystem::path file) : file_(std::move(file)) {}

  void add(const std::string& group, const std::string& row, nlohmann::json value) {
    found_[group][row] = std::move(value);
    if (!file_.empty()) write();
  }
  void end() const {
    if (file_.empty()) std::puts(found_.dump(1).c_str());
  }

 private:
  // Whole or not at all.
  void write() const {
    std::filesystem::path fresh = file_;
    fresh += ".tmp";
    std::ofstream stream(fresh);
    stream << found_.dump(1) << '\n';
    stream.close();
    if (!stream) throw std::runtime_error(fresh.string() + ": cannot be written");
    std::filesystem::rename(fresh, file_);
  }

  std::filesystem::path file_;
  nlohmann::json found_ = nlohmann::json::object();
};

// What a program was started with: the file of `--json`, wherever it stands, and all the rest.
struct Arguments {
  std::filesystem::path file;
  std::vector<std::string> rest;

  Arguments(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word != "--json") {
        rest.push_back(word);
      } else if (++i < argc) {
        file = argv[i];
      } else {
        throw std::invalid_argument("--json: expected a file after it");
      }
    }
  }
  [[nodiscard]] std::string at(std::size_t index, const std::string& otherwise) const {
    return index < rest.size() ? rest[index] : otherwise;
  }
};

}  // namespace stpl_rt::bench
