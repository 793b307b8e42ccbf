// A bundle: the folder that carries an exported network and everything needed to run it.
#pragma once

#include <stpl_rt/export.h>
#include <stpl_rt/options.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace stpl_rt {

struct ClassInfo {
  std::string name;
  std::array<std::uint8_t, 3> color{};  // RGB
};

enum class ColorOrder { rgb, bgr };
enum class ResizeMode { stretch, letterbox };
enum class ResizeFilter { bilinear, area };

// Network input = (resize(lut[pixel]) - mean) / std, in 0..255 units, planes in `color_order`.
struct InputSpec {
  int width = 0;
  int height = 0;
  ColorOrder color_order = ColorOrder::rgb;
  std::array<float, 3> mean{};              // in color_order
  std::array<float, 3> std{1.F, 1.F, 1.F};  // in color_order, each > 0
  // Input calibration: one table for each of R, G, B (always in that order), applied to the uint8 colours.
  std::optional<std::array<std::array<std::uint8_t, 256>, 3>> lut;
  ResizeMode resize = ResizeMode::stretch;
  ResizeFilter filter = ResizeFilter::bilinear;
};

// How logits lie on the network's input; see docs/bundle.md.
struct LogitsSpec {
  int width = 0;
  int height = 0;
  bool align_corners = false;
};

struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  std::string type;  // "float32"
};

// A TensorRT plan that came with the bundle. A plan is code: nothing of it is read before its user has said
// that the bundle's maker is trusted, so neither its content nor its hash is checked when the bundle is
// opened.
struct PlanSpec {
  std::filesystem::path file;  // absolute, inside the bundle; what it is for is in the JSON beside it
  std::string sha256;          // that the file must have, lower-case hexadecimal
};

struct NetworkSpec {
  std::string name;            // "segment", "fuse" or "update"
  std::filesystem::path file;  // absolute, inside the bundle, hash checked
  std::string sha256;          // lower-case hexadecimal
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<PlanSpec> plans;
};

class SharedNetworks;

// A validated bundle. Segmenters made from one Bundle, or from copies of it, share its compiled networks
// where device, precision and threads are the same. Segmenters use what was read: fields that were changed
// afterwards change nothing for them. Reading one checks every field, every path and every
// hash, and throws Error(invalid_bundle) naming the field, what was expected and what was found; Error(io)
// where there is no folder to read.
class STPL_RT_API Bundle {
 public:
  static Bundle open(const std::filesystem::path& directory);

  int schema_version = 0;
  std::string name;
  std::vector<ClassInfo> classes;  // 1 to 255
  int ignore_id = 255;
  InputSpec input;
  LogitsSpec logits;
  NetworkSpec segment;
  std::optional<NetworkSpec> fuse;    // logits of a key frame, logits carried to it → logits
  std::optional<NetworkSpec> update;  // the input image, logits carried to it → logits
  Schedule default_schedule = Schedule::every();
  std::string provenance_json;  // as written by the exporter, "{}" where absent
  std::filesystem::path directory;

 private:
  friend class Segmenter;
  Bundle() = default;

  std::shared_ptr<SharedNetworks> compiled_;
  std::shared_ptr<const Bundle> read_;  // the same, which nobody can change
};

}  // namespace stpl_rt
