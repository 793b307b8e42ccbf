// A bundle's folder: a well-formed manifest of drawn values, and a network file that is there, elsewhere, a
// link or no file at all. What is sound is accepted, all else refused.
#include <nlohmann/json.hpp>
#include <span>

#include "accepted_bundle.h"
#include "byte_source.h"
#include "core/sha256.h"
#include "scratch_folder.h"

namespace fs = std::filesystem;
using namespace stpl_rt::fuzz;
using nlohmann::json;

namespace {

// What stands where the manifest says the network is.
enum class Entry { file, missing, folder, link_inside, link_outside, link_to_itself, link_to_folder_outside };

// Relative to the bundle; drawn text may be anything, these are what attacks look like.
std::string draw_name(ByteSource& source) {
  static const char* const kNames[] = {"segment.onnx",      "sub/segment.onnx", "../secret.onnx",
                                       "./segment.onnx",    "sub/../seg.onnx",  "sub//seg.onnx",
                                       "/proc/self/status", "manifest.json",    "..",
                                       "sub\\seg.onnx",     "sub/link/seg.onnx"};
  const int which = source.small(0, std::size(kNames));
  return which < static_cast<int>(std::size(kNames)) ? kNames[which] : source.text();
}

// Only names that stay inside of `bundle` are written to, whatever was drawn.
bool stays_inside(const fs::path& bundle, const std::string& name) {
  if (name.empty() || name.size() > 200 || name.find('\0') != std::string::npos) return false;
  if (name.back() == '/' || name == "manifest.json" || fs::path(name).filename() == ".") return false;
  const fs::path file = (bundle / name).lexically_normal();
  return fs::path(name).is_relative() && file.string().starts_with(bundle.string() + "/") && file != bundle;
}

void place(Entry entry, const fs::path& file, const fs::path& outside, const std::string& content) {
  std::error_code error;  // a name too long, a file where a folder should be: then the entry is missing
  fs::create_directories(file.parent_path(), error);
  if (error || !fs::is_directory(file.parent_path(), error)) return;
  if (fs::symlink_status(file, error).type() == fs::file_type::directory) return;
  fs::remove(file, error);
  switch (entry) {
    case Entry::file:
      write_file(file, content);
      break;
    case Entry::missing:
      break;
    case Entry::folder:
      fs::create_directory(file, error);
      break;
    case Entry::link_inside:
      write_file(file.parent_path() / "target.onnx", content);
      fs::create_symlink("target.onnx", file, error);
      break;
    case Entry::link_outside:
      write_file(outside / "outside.onnx", content);
      fs::create_symlink(outside / "outside.onnx", file, error);
      break;
    case Entry::link_to_itself:
      fs::create_symlink(file, file, error);
      break;
    case Entry::link_to_folder_outside:
      fs::create_directory_symlink(outside, file, error);
      break;
  }
}

// Mostly a size that fits, now and then any number.
std::int64_t draw_side(ByteSource& source, std::int64_t usual) {
  switch (source.small(0, 7)) {
    case 6:
      return source.any<std::int64_t>();
    case 7:
      return source.any<std::int16_t>();
    default:
      return usual;
  }
}

json draw_tensor(ByteSource& source, const char* name, const std::vector<std::int64_t>& usual) {
  json shape = json::array();
  for (const std::int64_t side : usual) shape.push_back(draw_side(source, side));
  return {{"name", name}, {"shape", shape}, {"type", "float32"}};
}

json draw_classes(ByteSource& source) {
  json classes = json::array();
  const int count = source.small(0, 255) + (source.flag() ? 1 : 0);
  for (int i = 0; i < count; ++i) {
    classes.push_back({{"name", "class " + std::to_string(i)}, {"color", {i % 256, 0, 255}}});
  }
  return classes;
}

std::string draw_hash(ByteSource& source, const std::string& content) {
  switch (source.small(0, 7)) {
    case 5:
      return std::string(64, '0');
    case 6:
      return source.text();
    default:
      return stpl_rt::sha256(
          std::as_bytes(std::span(content)).size() == 0
              ? std::span<const unsigned char>()
              : std::span(reinterpret_cast<const unsigned char*>(content.data()), content.size()));
  }
}

json draw_manifest(ByteSource& source, const std::string& name, const std::string& content) {
  const std::int64_t width = draw_side(source, 96), height = draw_side(source, 64);
  const std::int64_t columns = draw_side(source, 24), rows = draw_side(source, 16);
  json classes = draw_classes(source);
  const auto count = static_cast<std::int64_t>(classes.size());
  return {{"schema_version", draw_side(source, 1)},
          {"name", "bundle"},
          {"classes", classes},
          {"ignore_id", draw_side(source, 255)},
          {"input",
           {{"width", width},
            {"height", height},
            {"color_order", "rgb"},
            {"mean", {0, 0, draw_side(source, 0)}},
            {"std", {1, 1, draw_side(source, 1)}},
            {"lut", nullptr},
            {"resize", "letterbox"},
            {"filter", "area"}}},
          {"logits", {{"width", columns}, {"height", rows}, {"align_corners", source.flag()}}},
          {"networks",
           {{"segment",
             {{"file", name},
              {"sha256", draw_hash(source, content)},
              {"inputs", {draw_tensor(source, "image", {1, 3, height, width})}},
              {"outputs", {draw_tensor(source, "logits", {1, count, rows, columns})}}}}}}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ScratchFolder scratch;
  const fs::path bundle_folder = scratch.path() / "bundle";
  const fs::path outside = scratch.path() / "outside";
  fs::remove_all(bundle_folder);
  fs::create_directory(bundle_folder);
  fs::create_directory(outside);

  ByteSource source(data, size);
  const std::string name = draw_name(source);
  const auto entry = static_cast<Entry>(source.small(0, 6));
  const std::string content = source.text();
  // Text that is not UTF-8 goes into the file as it is.
  const json manifest = draw_manifest(source, name, content);
  std::string text;
  try {
    text = manifest.dump();
  } catch (const json::exception&) {
    return 0;  // a drawn name that is not UTF-8: the manifest's own fuzzer writes such text
  }
  write_file(scratch.path() / "secret.onnx", content);
  if (stays_inside(bundle_folder, name)) place(entry, bundle_folder / name, outside, content);
  write_file(bundle_folder / "manifest.json", text);
  const auto bundle = open_or_refuse(bundle_folder);
  if (!bundle) return 0;
  require_sound(*bundle);
  require(entry == Entry::file || entry == Entry::link_inside, "what is no file of the bundle to be refused");
  return 0;
}
