// Output files that exist whole or not at all, and the maps and timings written to them.
#pragma once

#include <stpl_rt/result.h>

#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>

#include "cli/arguments.h"
#include "cli/y4m.h"

namespace stpl_rt::cli {

// A file written under a temporary name beside its own and renamed by commit(); "-" is standard output.
// Without commit() nothing is left. Throws UserError where the file cannot be made, std::runtime_error
// where writing fails.
class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const std::string& text) { write(text.data(), text.size()); }
  void write(const void* bytes, std::size_t count);
  void commit();

 private:
  [[noreturn]] void fail() const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty: standard output, or committed
  std::ofstream file_;
  std::ostream& stream_;
};

// Labels or confidences, one map a frame.
class MapWriter {
 public:
  MapWriter(const std::string& path, MapFormat format, const Y4mHeader& video);
  void write(const ByteMap& map);
  void commit() { file_.commit(); }

 private:
  OutputFile file_;
  MapFormat format_;
};

// One JSON object a line and frame.
class TimingWriter {
 public:
  explicit TimingWriter(const std::string& path) : file_(path) {}
  void write(const Result& result);
  void commit() { file_.commit(); }

 private:
  OutputFile file_;
};

}  // namespace stpl_rt::cli
