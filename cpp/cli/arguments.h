// The command line of stpl-segment.
#pragma once

#include <stpl_rt/options.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace stpl_rt::cli {

// A mistake of the user's: one clear line, exit status 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class MapFormat { raw, pgm, y4m };

// Paths are files, or "-" for standard input or output; empty where not given.
struct Arguments {
  std::string bundle;
  std::string input;
  SegmenterOptions options;
  MapFormat format = MapFormat::raw;
  std::string labels;
  std::string confidence;
  std::string timings;
  bool help = false;
};

extern const char* const kUsage;

// Arguments after the program's name. Throws UserError.
Arguments parse_arguments(const std::vector<std::string>& words);

}  // namespace stpl_rt::cli
