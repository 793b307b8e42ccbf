#include <stpl_rt/bundle.h>
#include <stpl_rt/error.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#include "bundle/shared_networks.h"
#include "core/image.h"
#include "core/sha256.h"
#include "text/json_field.h"

namespace stpl_rt {
namespace {

namespace fs = std::filesystem;

constexpr int kSchemaVersion = 1;
constexpr std::uintmax_t kMaxManifestBytes = 4U << 20;  // real ones are under 10 kB; the rest is provenance
constexpr std::uintmax_t kMaxNetworkBytes = 1U << 31;   // protocol buffers' own limit
constexpr std::int64_t kMaxLogits = std::int64_t{1} << 30;  // values, 4 GiB
constexpr std::size_t kMaxName = 256;
constexpr std::size_t kMaxPlans = 64;  // of a network: GPUs times versions of TensorRT
constexpr std::int64_t kIgnoreId = 255;

std::string read_manifest(const fs::path& file) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (!fs::is_regular_file(status)) {  // also keeps us from waiting at a pipe
    throw Error(ErrorCode::invalid_bundle, file.string() + ": expected a regular file, found " +
                                               (fs::exists(status) ? "something else" : "none"));
  }
  const std::uintmax_t size = fs::file_size(file, error);
  if (error || size > kMaxManifestBytes) {
    throw Error(ErrorCode::invalid_bundle, file.string() + ": expected at most " +
                                               std::to_string(kMaxManifestBytes) + " bytes, found " +
                                               (error ? error.message() : std::to_string(size)));
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(static_cast<std::size_t>(size), '\0');
  if (!stream.read(text.data(), static_cast<std::streamsize>(size))) {
    throw Error(ErrorCode::io, file.string() + ": cannot be read");
  }
  return text;
}

std::vector<ClassInfo> read_classes(const JsonField& field) {
  std::vector<ClassInfo> classes;
  std::set<std::string> names;
  for (const JsonField& element : field.array(1, kIgnoreId)) {
    element.object({"name", "color"});
    ClassInfo info;
    info.name = element.at("name").text(kMaxName);
    if (!names.insert(info.name).second) element.at("name").fail("a name that no class before has");
    const std::vector<JsonField> color = element.at("color").array(3, 3);
    for (std::size_t i = 0; i < 3; ++i) info.color[i] = static_cast<std::uint8_t>(color[i].integer(0, 255));
    classes.push_back(std::move(info));
  }
  return classes;
}

std::array<float, 3> read_channels(const JsonField& field, float min, float max) {
  const std::vector<JsonField> elements = field.array(3, 3);
  return {elements[0].number(min, max), elements[1].number(min, max), elements[2].number(min, max)};
}

std::array<std::array<std::uint8_t, 256>, 3> read_lut(const JsonField& field) {
  std::array<std::array<std::uint8_t, 256>, 3> lut{};
  const std::vector<JsonField> tables = field.array(3, 3);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    const std::vector<JsonField> entries = tables[channel].array(256, 256);
    for (std::size_t i = 0; i < 256; ++i) {
      lut[channel][i] = static_cast<std::uint8_t>(entries[i].integer(0, 255));
    }
  }
  return lut;
}

InputSpec read_input(const JsonField& field) {
  field.object({"width", "height", "color_order", "mean", "std", "lut", "resize", "filter"});
  InputSpec input;
  input.width = static_cast<int>(field.at("width").integer(1, kMaxSide));
  input.height = static_cast<int>(field.at("height").integer(1, kMaxSide));
  input.color_order = field.at("color_order").choice({"rgb", "bgr"}) == 0 ? ColorOrder::rgb : ColorOrder::bgr;
  // The bounds are far outside of what 0..255 colours can have; they keep the arithmetic finite.
  input.mean = read_channels(field.at("mean"), -1e6F, 1e6F);
  input.std = read_channels(field.at("std"), 1e-6F, 1e6F);
  if (const auto lut = field.find("lut")) input.lut = read_lut(*lut);
  input.resize =
      field.at("resize").choice({"stretch", "letterbox"}) == 0 ? ResizeMode::stretch : ResizeMode::letterbox;
  input.filter =
      field.at("filter").choice({"bilinear", "area"}) == 0 ? ResizeFilter::bilinear : ResizeFilter::area;
  return input;
}

LogitsSpec read_logits(const JsonField& field, std::size_t classes) {
  field.object({"width", "height", "align_corners"});
  LogitsSpec logits;
  logits.width = static_cast<int>(field.at("width").integer(1, kMaxSide));
  logits.height = static_cast<int>(field.at("height").integer(1, kMaxSide));
  logits.align_corners = field.at("align_corners").boolean();
  const std::int64_t values = std::int64_t{logits.width} * logits.height * static_cast<std::int64_t>(classes);
  if (values > kMaxLogits) {
    field.fail("at most " + std::to_string(kMaxLogits) + " logits (classes x height x width)",
               std::to_string(values));
  }
  return logits;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::ostringstream text;
  for (std::size_t i = 0; i < shape.size(); ++i) text << (i == 0 ? "[" : ",") << shape[i];
  text << "]";
  return text.str();
}

using Shape = std::vector<std::int64_t>;

// A tensor, with the shape that the rest of the manifest calls for.
TensorSpec read_tensor(const JsonField& element, const Shape& expected_shape) {
  element.object({"name", "shape", "type"});
  TensorSpec tensor;
  tensor.name = element.at("name").text(kMaxName);
  const JsonField shape = element.at("shape");
  for (const JsonField& side : shape.array(4, 4)) {
    tensor.shape.push_back(side.integer(1, std::int64_t{1} << 31));
  }
  if (tensor.shape != expected_shape) {
    shape.fail(shape_text(expected_shape) + " as input, logits and classes say", shape_text(tensor.shape));
  }
  const JsonField type = element.at("type");
  (void)type.choice({"float32"});
  tensor.type = "float32";
  return tensor;
}

// The tensors that `field` must list, in this order.
std::vector<TensorSpec> read_tensors(const JsonField& field, const std::vector<Shape>& expected_shapes) {
  std::vector<TensorSpec> tensors;
  const std::vector<JsonField> elements = field.array(expected_shapes.size(), expected_shapes.size());
  for (std::size_t i = 0; i < elements.size(); ++i) {
    tensors.push_back(read_tensor(elements[i], expected_shapes[i]));
  }
  return tensors;
}

// A file of the bundle by its relative name. The name is untrusted: neither it nor a link may lead outside.
fs::path resolve(const JsonField& field, const fs::path& directory) {
  const std::string expected = "a plain relative path to a file inside the bundle";
  const std::string text = field.text(kMaxName);
  const fs::path relative(text);
  bool plain = relative.is_relative() && text.find('\\') == std::string::npos;
  for (const fs::path& part : relative) plain = plain && !part.empty() && part != "." && part != "..";
  if (!plain) field.fail(expected);
  std::error_code error;
  fs::path file = fs::canonical(directory / relative, error);
  if (error) field.fail(expected, field.found() + " (" + error.message() + ")");
  const auto [end, unused] = std::mismatch(directory.begin(), directory.end(), file.begin(), file.end());
  if (end != directory.end()) field.fail(expected, field.found() + ", a link that leads outside");
  if (!fs::is_regular_file(file, error)) field.fail(expected, field.found() + ", not a regular file");
  return file;
}

std::string read_hash(const JsonField& field) {
  const std::string expected = "a SHA-256 of 64 lower-case hexadecimal digits";
  if (!field.value().is_string()) field.fail(expected);
  std::string hash = field.value().get<std::string>();
  if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos)
    field.fail(expected);
  return hash;
}

std::vector<PlanSpec> read_plans(const JsonField& field, const fs::path& directory) {
  std::vector<PlanSpec> plans;
  for (const JsonField& element : field.array(0, kMaxPlans)) {
    element.object({"file", "sha256"});
    plans.push_back(
        {.file = resolve(element.at("file"), directory), .sha256 = read_hash(element.at("sha256"))});
  }
  return plans;
}

NetworkSpec read_network(const JsonField& field, const std::string& name, const std::vector<Shape>& inputs,
                         const Shape& output, const fs::path& directory) {
  field.object({"file", "sha256", "inputs", "outputs", "plans"});
  NetworkSpec network;
  network.name = name;
  network.inputs = read_tensors(field.at("inputs"), inputs);
  network.outputs = read_tensors(field.at("outputs"), {output});
  network.sha256 = read_hash(field.at("sha256"));
  network.file = resolve(field.at("file"), directory);
  std::error_code error;
  const std::uintmax_t size = fs::file_size(network.file, error);
  if (error || size > kMaxNetworkBytes) {  // before it is read: a file with holes can be of any size
    field.at("file").fail("a file of at most " + std::to_string(kMaxNetworkBytes) + " bytes",
                          error ? error.message() : std::to_string(size));
  }
  const std::string hash = sha256_file(network.file);
  if (hash != network.sha256) {
    field.at("file").fail(
        "a file with SHA-256 " + network.sha256,
        field.at("file").found() + " with " + hash + "; it is damaged or not the one exported");
  }
  if (const auto plans = field.find("plans")) network.plans = read_plans(*plans, directory);
  return network;
}

void read_networks(const JsonField& field, Bundle& bundle) {
  field.object({"segment", "fuse", "update"});
  const Shape image{1, 3, bundle.input.height, bundle.input.width};
  const Shape logits{1, static_cast<std::int64_t>(bundle.classes.size()), bundle.logits.height,
                     bundle.logits.width};
  bundle.segment = read_network(field.at("segment"), "segment", {image}, logits, bundle.directory);
  if (const auto fuse = field.find("fuse")) {
    bundle.fuse = read_network(*fuse, "fuse", {logits, logits}, logits, bundle.directory);
  }
  if (const auto update = field.find("update")) {
    bundle.update = read_network(*update, "update", {image, logits}, logits, bundle.directory);
  }
}

Schedule read_schedule(const JsonField& field) {
  try {
    return Schedule::parse(field.text(kMaxName));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    field.fail("\"every\", \"fixed:K\" with K of at least 1 or \"adaptive:DRIFT:LONGEST\"");
  }
}

// Classes are 0 to n-1, so the id for "no class" must lie above them.
int read_ignore_id(const JsonField& field, std::size_t classes) {
  return static_cast<int>(field.integer(static_cast<std::int64_t>(classes), kIgnoreId));
}

}  // namespace

Bundle Bundle::open(const fs::path& directory) {
  std::error_code error;
  Bundle bundle;
  bundle.directory = fs::canonical(directory, error);
  if (error || !fs::is_directory(bundle.directory)) {
    throw Error(ErrorCode::io, "expected a bundle's folder at " + directory.string() + ", found " +
                                   (error ? error.message() : "a file"));
  }
  const nlohmann::json document =
      parse_json(read_manifest(bundle.directory / "manifest.json"), "manifest.json");
  const JsonField root(document, "manifest.json");
  // The version first: what else a manifest of another version holds is not ours to judge.
  const JsonField version = root.at("schema_version");
  if (!version.value().is_number_integer() || version.value() != kSchemaVersion) {
    version.fail(std::to_string(kSchemaVersion) + ", the version this stpl_rt reads");
  }
  root.object({"schema_version", "name", "classes", "ignore_id", "input", "logits", "networks",
               "default_schedule", "provenance"});
  bundle.compiled_ = std::make_shared<SharedNetworks>();
  bundle.schema_version = kSchemaVersion;
  bundle.name = root.at("name").text(kMaxName);
  bundle.classes = read_classes(root.at("classes"));
  bundle.ignore_id = read_ignore_id(root.at("ignore_id"), bundle.classes.size());
  bundle.input = read_input(root.at("input"));
  bundle.logits = read_logits(root.at("logits"), bundle.classes.size());
  if (const auto schedule = root.find("default_schedule")) bundle.default_schedule = read_schedule(*schedule);
  bundle.provenance_json = "{}";
  if (const auto provenance = root.find("provenance")) {
    if (!provenance->value().is_object()) provenance->fail("an object");
    bundle.provenance_json = provenance->value().dump();
  }
  read_networks(root.at("networks"), bundle);
  bundle.read_.reset(new Bundle(bundle));
  return bundle;
}

}  // namespace stpl_rt
