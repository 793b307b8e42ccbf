#include "cli/arguments.h"

#include <stpl_rt/error.h>

#include <charconv>
#include <functional>
#include <map>
#include <string_view>

#include "core/nearest.h"

namespace stpl_rt::cli {

const char* const kUsage =
    R"(Usage: stpl-segment BUNDLE INPUT.y4m|- [options]

Segments a video frame by frame. INPUT is 8-bit Y4M (4:2:0, 4:2:2, 4:4:4 or mono), "-" reads standard input:
  ffmpeg -v error -i drive.mp4 -f yuv4mpegpipe - | stpl-segment street.bundle - --labels labels.y4m --format y4m

Options:
  --schedule every|fixed:K|adaptive[:DRIFT[:LONGEST]]
                             when the network runs (default: the bundle's)
  --key-lag D                frames by which the network may be late (default: 0, the video waits for it)
  --precision f32|bf16|f16   arithmetic of the network (default: f32)
  --threads N                threads of network and kernels (default: the cores this process may use)
  --device cpu|cuda[:N]      where the network runs (default: cpu)
  --build-engines            on a GPU: build a TensorRT plan where the cache has none that fits; takes minutes
  --trust-engines            on a GPU: use TensorRT plans of the bundle; a plan is code, so only of a maker you trust
  --no-scene-cuts            do not look for cuts in the video
  --flow-check               check the flow by that of the other way round, for --confidence and adaptive
  --fuse                     fuse key frames with what was carried to them, where the bundle can
  --update                   correct what was carried to the frames between, where the bundle can
  --labels FILE|-            write the class ids, one byte a pixel, at the video's size
  --confidence FILE|-        write the confidences (0 to 255) in the same way
  --format raw|pgm|y4m       of labels and confidences: bare bytes, a PGM image a frame, mono Y4M (default: raw)
  --timings FILE|-           write one JSON object a frame: what ran and how many milliseconds it took
  --help                     this text

A summary goes to standard error. Exit status: 0 done, 2 a mistake in arguments, bundle or video, 1 a fault,
130 interrupted.
)";

namespace {

int parse_count(const std::string& text, const std::string& expected) {
  int count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 0) {
    throw UserError("expected " + expected + ", found \"" + text + "\"");
  }
  return count;
}

MapFormat parse_format(const std::string& text) {
  if (text == "raw") return MapFormat::raw;
  if (text == "pgm") return MapFormat::pgm;
  if (text == "y4m") return MapFormat::y4m;
  throw UserError("--format: expected raw, pgm or y4m, found \"" + text + "\"");
}

using Setter = std::function<void(Arguments&, const std::string&)>;

const std::map<std::string, Setter, std::less<>>& valued_options() {
  static const std::map<std::string, Setter, std::less<>> setters = {
      {"--schedule", [](Arguments& a, const std::string& v) { a.options.schedule = Schedule::parse(v); }},
      {"--precision", [](Arguments& a, const std::string& v) { a.options.precision = parse_precision(v); }},
      {"--threads",
       [](Arguments& a, const std::string& v) {
         a.options.threads = parse_count(v, "a number of threads, 0 for all cores");
       }},
      {"--key-lag",
       [](Arguments& a, const std::string& v) { a.options.key_lag = parse_count(v, "a number of frames"); }},
      {"--device", [](Arguments& a, const std::string& v) { a.options.device = v; }},
      {"--labels", [](Arguments& a, const std::string& v) { a.labels = v; }},
      {"--confidence",
       [](Arguments& a, const std::string& v) {
         a.confidence = v;
         a.options.confidence = true;
       }},
      {"--format", [](Arguments& a, const std::string& v) { a.format = parse_format(v); }},
      {"--timings", [](Arguments& a, const std::string& v) { a.timings = v; }},
  };
  return setters;
}

[[noreturn]] void refuse_option(const std::string& name) {
  std::vector<std::string_view> known = {"--no-scene-cuts", "--flow-check",    "--fuse", "--update",
                                         "--build-engines", "--trust-engines", "--help"};
  for (const auto& [option, unused] : valued_options()) known.emplace_back(option);
  throw UserError("expected an option of stpl-segment, found \"" + name + "\"; " + suggest(name, known));
}

// Applies the option at words[i]; returns how many words it took.
std::size_t apply_option(const std::vector<std::string>& words, std::size_t i, Arguments& arguments) {
  const std::string& word = words[i];
  if (word == "--help" || word == "-h") return arguments.help = true, 1;
  if (word == "--no-scene-cuts") return arguments.options.scene_cuts = false, 1;
  if (word == "--flow-check") return arguments.options.flow_check = true, 1;
  if (word == "--fuse") return arguments.options.fuse = true, 1;
  if (word == "--update") return arguments.options.update = true, 1;
  if (word == "--build-engines") return arguments.options.build_engines = true, 1;
  if (word == "--trust-engines") return arguments.options.trust_engines = true, 1;
  const std::size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const auto option = valued_options().find(name);
  if (option == valued_options().end()) refuse_option(name);
  const bool joined = equals != std::string::npos;
  if (!joined && i + 1 == words.size()) throw UserError(name + ": expected a value, found none");
  const std::string value = joined ? word.substr(equals + 1) : words[i + 1];
  if (value.empty()) throw UserError(name + ": expected a value, found an empty one");
  try {
    option->second(arguments, value);
  } catch (const std::runtime_error& error) {
    throw UserError(name + ": " + error.what());
  }
  return joined ? 1 : 2;
}

void check(const Arguments& arguments, const std::vector<std::string>& positional) {
  if (positional.size() != 2) {
    throw UserError("expected BUNDLE and INPUT, found " + std::to_string(positional.size()) +
                    " arguments; see stpl-segment --help");
  }
  std::map<std::string, int> uses;
  for (const std::string& path : {arguments.labels, arguments.confidence, arguments.timings}) {
    if (!path.empty() && ++uses[path] > 1) {
      throw UserError("expected one output a file, found \"" + path + "\" given for two");
    }
  }
}

}  // namespace

Arguments parse_arguments(const std::vector<std::string>& words) {
  Arguments arguments;
  std::vector<std::string> positional;
  for (std::size_t i = 0; i < words.size();) {
    if (words[i].size() > 1 && words[i][0] == '-') {
      i += apply_option(words, i, arguments);
    } else {
      positional.push_back(words[i++]);
    }
  }
  if (arguments.help) return arguments;
  check(arguments, positional);
  arguments.bundle = positional[0];
  arguments.input = positional[1];
  return arguments;
}

}  // namespace stpl_rt::cli
