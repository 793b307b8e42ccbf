#include <stpl_rt/bundle.h>

#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

using nlohmann::json;

TEST(Bundle, ReadsEveryField) {
  const Bundle bundle = Bundle::open(made_bundle("corners"));
  EXPECT_EQ(bundle.schema_version, 1);
  EXPECT_EQ(bundle.name, "corners");
  ASSERT_EQ(bundle.classes.size(), 4U);
  EXPECT_EQ(bundle.classes[1].name, "green");
  EXPECT_EQ(bundle.classes[3].color, (std::array<std::uint8_t, 3>{64, 64, 64}));
  EXPECT_EQ(bundle.ignore_id, 255);
  EXPECT_EQ(bundle.input.width, 97);
  EXPECT_EQ(bundle.input.height, 65);
  EXPECT_EQ(bundle.input.mean, (std::array<float, 3>{112, 120, 128}));
  EXPECT_EQ(bundle.input.std, (std::array<float, 3>{64, 64, 32}));
  EXPECT_FALSE(bundle.input.lut.has_value());
  EXPECT_EQ(bundle.logits.width, 25);
  EXPECT_EQ(bundle.logits.height, 17);
  EXPECT_TRUE(bundle.logits.align_corners);
  EXPECT_EQ(bundle.segment.name, "segment");
  EXPECT_TRUE(bundle.segment.file.is_absolute());
  EXPECT_EQ(bundle.segment.inputs.at(0).name, "image");
  EXPECT_EQ(bundle.segment.outputs.at(0).shape, (std::vector<std::int64_t>{1, 4, 17, 25}));
  EXPECT_EQ(bundle.default_schedule.to_string(), "fixed:3");
  EXPECT_EQ(json::parse(bundle.provenance_json).at("made_by"), "make_test_bundle.py");
}

TEST(Bundle, ReadsLookUpTableColorOrderAndResize) {
  const TemporaryFolder folder;
  const Bundle bundle = Bundle::open(changed_bundle(folder, "half_pixel", [](json& m) {
    json tables = json::array();
    for (int channel = 0; channel < 3; ++channel) {
      json table = json::array();
      for (int i = 0; i < 256; ++i) table.push_back((i + 85 * channel) % 256);
      tables.push_back(table);
    }
    m["input"]["lut"] = tables;
    m["input"]["color_order"] = "bgr";
    m["input"]["resize"] = "letterbox";
    m["input"]["filter"] = "area";
    m.erase("default_schedule");
    m.erase("provenance");
  }));
  ASSERT_TRUE(bundle.input.lut.has_value());
  EXPECT_EQ((*bundle.input.lut)[0][7], 7);
  EXPECT_EQ((*bundle.input.lut)[2][100], 14);
  EXPECT_EQ(bundle.input.color_order, ColorOrder::bgr);
  EXPECT_EQ(bundle.input.resize, ResizeMode::letterbox);
  EXPECT_EQ(bundle.input.filter, ResizeFilter::area);
  EXPECT_EQ(bundle.default_schedule.to_string(), "every");
  EXPECT_EQ(bundle.provenance_json, "{}");
}

TEST(Bundle, ListsPlansWithoutReadingThem) {
  const TemporaryFolder folder;
  const std::string hash(64, 'a');  // not the file's: that is checked by whoever trusts the plan
  const fs::path copy = changed_bundle(folder, "half_pixel", [](json&) {});
  fs::create_directory(copy / "plans");
  write_text(copy / "plans" / "segment.plan", "a plan");
  json manifest = json::parse(read_text(copy / "manifest.json"));
  EXPECT_TRUE(Bundle::open(copy).segment.plans.empty());
  manifest["networks"]["segment"]["plans"] = {{{"file", "plans/segment.plan"}, {"sha256", hash}}};
  write_text(copy / "manifest.json", manifest.dump());
  const Bundle bundle = Bundle::open(copy);
  ASSERT_EQ(bundle.segment.plans.size(), 1U);
  EXPECT_EQ(bundle.segment.plans[0].file, fs::canonical(copy) / "plans" / "segment.plan");
  EXPECT_EQ(bundle.segment.plans[0].sha256, hash);
}

// An entry of "plans" that is as it must be.
json plan(const json& manifest) {
  return {{"file", "segment.onnx"}, {"sha256", manifest["networks"]["segment"]["sha256"]}};
}

struct Fault {
  const char* name;
  std::function<void(json&)> change;
  std::vector<std::string> parts;  // of the message
};

void PrintTo(const Fault& fault, std::ostream* stream) { *stream << fault.name; }

class BundleFault : public testing::TestWithParam<Fault> {};

TEST_P(BundleFault, IsRefusedByName) {
  const TemporaryFolder folder;
  const fs::path path = changed_bundle(folder, "half_pixel", GetParam().change);
  expect_error(ErrorCode::invalid_bundle, GetParam().parts, [&] { (void)Bundle::open(path); });
}

json& tensor(json& m, const char* side) { return m["networks"]["segment"][side][0]; }

const Fault kFaults[] = {
    {"NewerSchema",
     [](json& m) {
       m["schema_version"] = 2;
       m["novelty"] = 1;
     },
     {"schema_version", "expected 1", "found 2"}},
    {"SchemaNotANumber", [](json& m) { m["schema_version"] = "1"; }, {"schema_version", "\"1\""}},
    {"NoSchema", [](json& m) { m.erase("schema_version"); }, {"schema_version", "none"}},
    {"NotAnObject", [](json& m) { m = json::array(); }, {"an object", "an array of 0"}},
    {"UnknownKey",
     [](json& m) { m["input"]["widht"] = 3; },
     {"input", "\"widht\"", "did you mean \"width\""}},
    {"UnknownTopKey", [](json& m) { m["zzzzzzzzzzzz"] = 3; }, {"zzzzzzzzzzzz", "\"schema_version\""}},
    {"UnknownNetwork", [](json& m) { m["networks"]["fuse"] = json::object(); }, {"networks", "fuse"}},
    {"MissingKey", [](json& m) { m["input"].erase("mean"); }, {"input", "the key \"mean\"", "none"}},
    {"NoClasses", [](json& m) { m["classes"] = json::array(); }, {"classes", "1 to 255", "an array of 0"}},
    {"TooManyClasses",
     [](json& m) {
       m["classes"] = json::array();
       for (int i = 0; i < 256; ++i)
         m["classes"].push_back({{"name", "c" + std::to_string(i)}, {"color", {0, 0, 0}}});
     },
     {"classes", "1 to 255", "an array of 256"}},
    {"ClassesOtherThanLogits",
     [](json& m) {
       m["classes"].erase(3);
       m["ignore_id"] = 255;
     },
     {"networks.segment.outputs[0].shape", "[1,3,16,24]", "[1,4,16,24]"}},
    {"NameTwice", [](json& m) { m["classes"][1]["name"] = "red"; }, {"classes[1].name", "\"red\""}},
    {"NameEmpty", [](json& m) { m["classes"][1]["name"] = ""; }, {"classes[1].name"}},
    {"NameWithControlCharacter",
     [](json& m) { m["classes"][1]["name"] = "gr\x1b[2J"; },
     {"classes[1].name", "\\u001b"}},
    {"NameWithC1Character", [](json& m) { m["name"] = "a\xC2\x9B"; }, {"name", "control"}},
    {"NameTooLong", [](json& m) { m["name"] = std::string(300, 'n'); }, {"name", "256"}},
    {"ColorOfTwo", [](json& m) { m["classes"][0]["color"] = {1, 2}; }, {"classes[0].color", "an array of 3"}},
    {"ColorTooBright",
     [](json& m) { m["classes"][0]["color"][2] = 256; },
     {"classes[0].color[2]", "0 to 255", "256"}},
    {"IgnoreIdIsAClass", [](json& m) { m["ignore_id"] = 3; }, {"ignore_id", "4 to 255", "found 3"}},
    {"WidthZero", [](json& m) { m["input"]["width"] = 0; }, {"input.width", "1 to 16384", "found 0"}},
    {"WidthHuge", [](json& m) { m["input"]["width"] = 16385; }, {"input.width", "16385"}},
    {"WidthWraps",
     [](json& m) { m["input"]["width"] = 18446744073709551615U; },
     {"input.width", "18446744073709551615"}},
    {"WidthFraction", [](json& m) { m["input"]["width"] = 96.0; }, {"input.width", "96.0"}},
    {"WidthBoolean", [](json& m) { m["input"]["width"] = true; }, {"input.width", "true"}},
    {"StdZero", [](json& m) { m["input"]["std"][1] = 0; }, {"input.std[1]", "found 0"}},
    {"StdNegative", [](json& m) { m["input"]["std"][1] = -1; }, {"input.std[1]", "found -1"}},
    {"MeanNull", [](json& m) { m["input"]["mean"][2] = nullptr; }, {"input.mean[2]", "null"}},
    {"MeanHuge", [](json& m) { m["input"]["mean"][2] = 1e300; }, {"input.mean[2]", "1e+300"}},
    {"ColorOrder",
     [](json& m) { m["input"]["color_order"] = "RGB"; },
     {"input.color_order", "\"rgb\" or \"bgr\"", "\"RGB\""}},
    {"Resize",
     [](json& m) { m["input"]["resize"] = "crop"; },
     {"input.resize", "\"stretch\" or \"letterbox\"", "crop"}},
    {"Filter",
     [](json& m) { m["input"]["filter"] = 1; },
     {"input.filter", "\"bilinear\" or \"area\"", "found 1"}},
    {"LutOfTwo",
     [](json& m) { m["input"]["lut"] = {json::array(), json::array()}; },
     {"input.lut", "an array of 3"}},
    {"LutShort",
     [](json& m) {
       m["input"]["lut"] = json::array(
           {json(std::vector<int>(256, 1)), json(std::vector<int>(255, 1)), json(std::vector<int>(256, 1))});
     },
     {"input.lut[1]", "256", "255"}},
    {"LutValue",
     [](json& m) {
       m["input"]["lut"] = json::array(
           {json(std::vector<int>(256, 1)), json(std::vector<int>(256, 1)), json(std::vector<int>(256, -1))});
     },
     {"input.lut[2][0]", "0 to 255", "-1"}},
    {"LogitsSize",
     [](json& m) { m["logits"]["width"] = 25; },
     {"networks.segment.outputs[0].shape", "[1,4,16,25]"}},
    {"LogitsTooMany",
     [](json& m) {
       m["classes"].push_back({{"name", "fifth"}, {"color", {0, 0, 0}}});
       m["logits"]["width"] = 16384;
       m["logits"]["height"] = 16384;
     },
     {"logits", "1073741824", "1342177280"}},
    {"AlignCornersNumber",
     [](json& m) { m["logits"]["align_corners"] = 0; },
     {"logits.align_corners", "true or false", "found 0"}},
    {"InputShape",
     [](json& m) { tensor(m, "inputs")["shape"][2] = 65; },
     {"networks.segment.inputs[0].shape", "[1,3,64,96]", "[1,3,65,96]"}},
    {"TensorType",
     [](json& m) { tensor(m, "outputs")["type"] = "float16"; },
     {"networks.segment.outputs[0].type", "float32", "float16"}},
    {"TwoInputs",
     [](json& m) { m["networks"]["segment"]["inputs"].push_back(tensor(m, "inputs")); },
     {"networks.segment.inputs", "an array of 1", "an array of 2"}},
    {"HashShort",
     [](json& m) { m["networks"]["segment"]["sha256"] = "abc"; },
     {"networks.segment.sha256", "64", "abc"}},
    {"HashOfAnother",
     [](json& m) { m["networks"]["segment"]["sha256"] = std::string(64, 'a'); },
     {"networks.segment.file", "aaaa", "segment.onnx\" with"}},
    {"FileMissing",
     [](json& m) { m["networks"]["segment"]["file"] = "other.onnx"; },
     {"networks.segment.file", "other.onnx"}},
    {"FileAbsolute",
     [](json& m) { m["networks"]["segment"]["file"] = "/etc/passwd"; },
     {"networks.segment.file", "plain relative"}},
    {"FileUp",
     [](json& m) { m["networks"]["segment"]["file"] = "../half_pixel/segment.onnx"; },
     {"networks.segment.file", "plain relative"}},
    {"FileUpInside",
     [](json& m) { m["networks"]["segment"]["file"] = "a/../segment.onnx"; },
     {"networks.segment.file", "plain relative"}},
    {"FileDot",
     [](json& m) { m["networks"]["segment"]["file"] = "./segment.onnx"; },
     {"networks.segment.file", "plain relative"}},
    {"FileBackslash",
     [](json& m) { m["networks"]["segment"]["file"] = "..\\segment.onnx"; },
     {"networks.segment.file", "plain relative"}},
    {"FileZeroByte",
     [](json& m) { m["networks"]["segment"]["file"] = std::string("segment.onnx\0x", 14); },
     {"networks.segment.file"}},
    {"FileIsTheFolder",
     [](json& m) { m["networks"]["segment"]["file"] = "segment.onnx/"; },
     {"networks.segment.file"}},
    {"PlansNumber",
     [](json& m) { m["networks"]["segment"]["plans"] = 1; },
     {"segment.plans", "an array", "1"}},
    {"PlansTooMany",
     [](json& m) { m["networks"]["segment"]["plans"] = json::array_t(65, plan(m)); },
     {"segment.plans", "64", "65"}},
    {"PlanUnknownKey",
     [](json& m) {
       m["networks"]["segment"]["plans"] = {plan(m)};
       m["networks"]["segment"]["plans"][0]["trusted"] = true;
     },
     {"segment.plans[0]", "no unknown key", "trusted"}},
    {"PlanHashShort",
     [](json& m) {
       m["networks"]["segment"]["plans"] = {plan(m)};
       m["networks"]["segment"]["plans"][0]["sha256"] = "abc";
     },
     {"segment.plans[0].sha256", "64", "abc"}},
    {"PlanUp",
     [](json& m) {
       m["networks"]["segment"]["plans"] = {plan(m)};
       m["networks"]["segment"]["plans"][0]["file"] = "../half_pixel/segment.onnx";
     },
     {"segment.plans[0].file", "plain relative"}},
    {"Schedule",
     [](json& m) { m["default_schedule"] = "fixed:0"; },
     {"default_schedule", "fixed:K", "fixed:0"}},
    {"ProvenanceText", [](json& m) { m["provenance"] = "me"; }, {"provenance", "an object", "\"me\""}},
};

INSTANTIATE_TEST_SUITE_P(Manifest, BundleFault, testing::ValuesIn(kFaults),
                         [](const auto& info) { return std::string(info.param.name); });

// Manifests that are not even the right JSON.
fs::path bundle_with_manifest(const TemporaryFolder& folder, const std::string& text) {
  const fs::path copy = changed_bundle(folder, "half_pixel", [](json&) {});
  write_text(copy / "manifest.json", text);
  return copy;
}

TEST(Bundle, RefusesWhatIsNotJson) {
  const TemporaryFolder folder;
  for (const std::string& text :
       {std::string(), std::string("{\"a\":"), std::string("{\"name\":\"\xff\"}")}) {
    expect_error(ErrorCode::invalid_bundle, {"manifest.json", "JSON"},
                 [&] { (void)Bundle::open(bundle_with_manifest(folder, text)); });
  }
}

// Whoever shows a message shows what the manifest's author wrote: no bytes that are not text, no pages of it.
TEST(Bundle, QuotesWhatIsNotJsonInPlainText) {
  const TemporaryFolder folder;
  for (const std::string& text : {std::string("{\"name\":\"\xff\x9b\"}"), std::string("\"\xc2\x9b[2J"),
                                  "\"" + std::string(1000000, 'n')}) {
    const fs::path bundle = bundle_with_manifest(folder, text);
    try {
      (void)Bundle::open(bundle);
      FAIL() << "expected an error";
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_LT(message.size(), 400U);
      EXPECT_TRUE(std::all_of(message.begin(), message.end(), [](char c) { return c >= 0x20 && c < 0x7F; }))
          << message;
    }
  }
}

TEST(Bundle, RefusesDeepNestingWithoutHarm) {
  const TemporaryFolder folder;
  const std::string text = "{\"provenance\":" + std::string(1000000, '[');
  expect_error(ErrorCode::invalid_bundle, {"nesting"},
               [&] { (void)Bundle::open(bundle_with_manifest(folder, text)); });
}

TEST(Bundle, RefusesAKeyGivenTwice) {
  const TemporaryFolder folder;
  const std::string text = "{\"schema_version\":1,\"name\":\"a\",\"name\":\"b\"}";
  expect_error(ErrorCode::invalid_bundle, {"\"name\" twice"},
               [&] { (void)Bundle::open(bundle_with_manifest(folder, text)); });
}

TEST(Bundle, RefusesAHugeManifest) {
  const TemporaryFolder folder;
  const std::string text(5U << 20, ' ');
  expect_error(ErrorCode::invalid_bundle, {"4194304", "5242880"},
               [&] { (void)Bundle::open(bundle_with_manifest(folder, text)); });
}

TEST(Bundle, RefusesALinkThatLeadsOutside) {
  const TemporaryFolder folder;
  const fs::path copy = changed_bundle(folder, "half_pixel", [](json&) {});
  fs::remove(copy / "segment.onnx");
  fs::create_symlink(made_bundle("half_pixel") / "segment.onnx", copy / "segment.onnx");
  expect_error(ErrorCode::invalid_bundle, {"networks.segment.file", "outside"},
               [&] { (void)Bundle::open(copy); });
}

TEST(Bundle, FollowsALinkInsideAndALinkToTheBundle) {
  const TemporaryFolder folder;
  const fs::path copy = changed_bundle(folder, "half_pixel", [](json&) {});
  fs::rename(copy / "segment.onnx", copy / "real.onnx");
  fs::create_symlink("real.onnx", copy / "segment.onnx");
  fs::create_directory_symlink(copy, folder.path() / "link");
  EXPECT_EQ(Bundle::open(folder.path() / "link").segment.file.filename(), "real.onnx");
}

TEST(Bundle, SaysWhatIsMissing) {
  const TemporaryFolder folder;
  expect_error(ErrorCode::io, {"nowhere"}, [&] { (void)Bundle::open(folder.path() / "nowhere"); });
  expect_error(ErrorCode::invalid_bundle, {"manifest.json", "none"},
               [&] { (void)Bundle::open(folder.path()); });
  write_text(folder.path() / "file", "");
  expect_error(ErrorCode::io, {"a file"}, [&] { (void)Bundle::open(folder.path() / "file"); });
}

}  // namespace
}  // namespace stpl_rt::test
