#include "engine/plan_cache.h"

#include <sys/stat.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "core/sha256.h"
#include "engine/onnx_file.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

using nlohmann::json;

constexpr const char* kPlan = "not a plan, but this layer does not know";

PlanRequest request(const std::string& library = "tensorrt") {
  return {.library = library,
          .library_version = "11.1.0.106",
          .device = {.name = "NVIDIA H200", .compute_capability = 90},
          .network = Bundle::open(made_bundle("half_pixel")).segment,
          .precision = "fp32"};
}

std::vector<PlanTensor> tensors_of(const NetworkSpec& network) {
  std::vector<PlanTensor> tensors;
  for (const TensorSpec& spec : network.inputs) tensors.push_back({spec.name, true, spec.shape, spec.type});
  for (const TensorSpec& spec : network.outputs) tensors.push_back({spec.name, false, spec.shape, spec.type});
  return tensors;
}

fs::path write(const fs::path& folder, const PlanRequest& request, const std::string& bytes = kPlan) {
  return write_plan(folder, own_identity(request), bytes, tensors_of(request.network));
}

fs::path beside(const fs::path& plan) { return plan.string() + ".json"; }

void edit(const fs::path& plan, const std::function<void(json&)>& change) {
  json sidecar = json::parse(read_text(beside(plan)));
  change(sidecar);
  write_text(beside(plan), sidecar.dump());
}

// The one reason why there is no plan.
std::string reason_of(const PlanSearch& search) {
  if (search.plan || search.reasons.size() != 1) return "no single reason";
  return search.reasons.front();
}

void expect_parts(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(PlanCache, FindsWhatItWrote) {
  const TemporaryFolder folder;
  const PlanRequest wanted = request();
  EXPECT_FALSE(find_plan(folder.path(), wanted).plan);
  const fs::path file = write(folder.path(), wanted);
  const PlanSearch search = find_plan(folder.path(), wanted);
  ASSERT_TRUE(search.plan) << (search.reasons.empty() ? "" : search.reasons.front());
  EXPECT_EQ(search.plan->file, file);
  EXPECT_EQ(search.plan->bytes, kPlan);
  struct stat status = {};
  ASSERT_EQ(stat(file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  for (const auto& entry : fs::directory_iterator(file.parent_path())) {
    EXPECT_TRUE(entry.path() == file || entry.path() == beside(file)) << entry.path();
  }
}

// The exporter, in Python, gives the same file the same name.
TEST(PlanCache, FilesAreNamedAsTheExporterNamesThem) {
  PlanIdentity identity = own_identity(request("tensorrt_rtx"));
  identity.library_version = "1.7.1.116";
  identity.network_sha256 = "4881646e3111ac5b84bec042906ca12c6141f1892afec81935f7e41a98916a21";
  EXPECT_EQ(plan_file(identity),
            "sm80-up/tensorrt_rtx-1.7.1.116/segment-4881646e3111ac5b-fp32-5b078722.plan");
}

TEST(PlanCache, LiesInTheUsersCache) {
  const char* const before = std::getenv("XDG_CACHE_HOME");
  const std::string kept = before == nullptr ? "" : before;
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(plans_folder(), "/somewhere/stpl/plans");
  setenv("XDG_CACHE_HOME", "relative", 1);  // to be ignored
  EXPECT_EQ(plans_folder(), fs::path(std::getenv("HOME")) / ".cache/stpl/plans");
  if (before == nullptr) {
    unsetenv("XDG_CACHE_HOME");
  } else {
    setenv("XDG_CACHE_HOME", kept.c_str(), 1);
  }
}

TEST(PlanCache, ReplacesAPlanWhole) {
  const TemporaryFolder folder;
  const fs::path file = write(folder.path(), request());
  EXPECT_EQ(write(folder.path(), request(), "another"), file);
  const PlanSearch search = find_plan(folder.path(), request());
  ASSERT_TRUE(search.plan);
  EXPECT_EQ(search.plan->bytes, "another");
}

// Whatever the names of the files, which come from hashes of their settings.
TEST(PlanCache, ItsOwnSettingsComeBeforeOthers) {
  const TemporaryFolder folder;
  const PlanRequest wanted = request();
  std::vector<fs::path> others;
  for (int core = 0; core < 8; ++core) {
    PlanIdentity identity = own_identity(wanted);
    json settings = json::parse(identity.settings);
    settings["dla_core"] = core;
    identity.settings = settings.dump();
    others.push_back(
        write_plan(folder.path(), identity, "of core " + std::to_string(core), tensors_of(wanted.network)));
  }
  std::sort(others.begin(), others.end());
  const PlanSearch first = find_plan(folder.path(), wanted);
  ASSERT_TRUE(first.plan);
  EXPECT_EQ(first.plan->file, others.front());
  ASSERT_TRUE(first.plan->dla_core);
  EXPECT_EQ(first.plan->bytes, "of core " + std::to_string(*first.plan->dla_core));
  const fs::path own = write(folder.path(), wanted);
  const PlanSearch second = find_plan(folder.path(), wanted);
  ASSERT_TRUE(second.plan);
  EXPECT_EQ(second.plan->file, own);
  EXPECT_FALSE(second.plan->dla_core);
}

TEST(PlanCache, RefusesAFolderThatCannotBeWritten) {
  const TemporaryFolder folder;
  write_text(folder.path() / "file", "");
  expect_error(ErrorCode::io, {"expected to write", "XDG_CACHE_HOME"},
               [&] { (void)write(folder.path() / "file", request()); });
}

TEST(PlanCache, RefusesPlansThatAreNotWhole) {
  const TemporaryFolder folder;
  const fs::path file = write(folder.path(), request());
  write_text(file, std::string(kPlan).substr(1));
  expect_parts(reason_of(find_plan(folder.path(), request())), {file.filename(), "bytes", "cut off"});
  std::string other = kPlan;
  other[0] ^= 1;
  write_text(file, other);
  expect_parts(reason_of(find_plan(folder.path(), request())), {"SHA-256", "damaged"});
  fs::remove(beside(file));
  expect_parts(reason_of(find_plan(folder.path(), request())), {".plan.json", "found none"});
}

TEST(PlanCache, RefusesWhatOthersMayWriteAndLinks) {
  const TemporaryFolder folder;
  const fs::path file = write(folder.path(), request());
  fs::permissions(file, fs::perms::others_write, fs::perm_options::add);
  expect_parts(reason_of(find_plan(folder.path(), request())), {"nobody else may write", "code"});
  fs::permissions(file, fs::perms::others_write, fs::perm_options::remove);
  ASSERT_TRUE(find_plan(folder.path(), request()).plan);
  fs::rename(file, folder.path() / "elsewhere");
  fs::create_symlink(folder.path() / "elsewhere", file);
  expect_parts(reason_of(find_plan(folder.path(), request())), {"regular file", "link"});
}

TEST(PlanCache, ABundlesPlanMustHaveTheManifestsHash) {
  const TemporaryFolder folder;
  const fs::path file = write(folder.path(), request());
  EXPECT_TRUE(load_plan(file, request(), sha256_file(file)).plan);
  const std::string other(64, 'a');
  expect_parts(reason_of(load_plan(file, request(), other)), {"SHA-256 " + other, sha256_file(file)});
}

struct Fault {
  const char* name;
  std::function<void(json&)> change;
  std::vector<std::string> parts;
};

const Fault kFaults[] = {
    {"Format", [](json& s) { s["format"] = "stpl-plan-2"; }, {"format", "stpl-plan-1", "stpl-plan-2"}},
    {"UnknownKey", [](json& s) { s["identity"]["gpu"] = "x"; }, {"identity", "unknown key", "gpu"}},
    {"Library",
     [](json& s) { s["identity"]["library"] = "tensorrt_rtx"; },
     {"library: expected tensorrt, found tensorrt_rtx"}},
    {"Version",
     [](json& s) { s["identity"]["library_version"] = "10.3.0.30"; },
     {"library_version", "11.1.0.106", "10.3.0.30"}},
    {"Gpu",
     [](json& s) { s["identity"]["target"] = "nvidia-l4-sm89"; },
     {"target", "nvidia-h200-sm90", "nvidia-l4-sm89"}},
    {"Network", [](json& s) { s["identity"]["network"] = "fuse"; }, {"network", "segment", "fuse"}},
    {"NetworkHash",
     [](json& s) { s["identity"]["network_sha256"] = std::string(64, '0'); },
     {"network_sha256", "0000"}},
    {"HashOfOtherLength", [](json& s) { s["plan_sha256"] = "abc"; }, {"plan_sha256", "64", "abc"}},
    {"Precision", [](json& s) { s["identity"]["precision"] = "fp16"; }, {"precision", "fp32", "fp16"}},
    {"Batches", [](json& s) { s["identity"]["settings"]["batches"] = {2, 4, 8}; }, {"batches", "[2,4,8]"}},
    {"DlaCore", [](json& s) { s["identity"]["settings"]["dla_core"] = "0"; }, {"dla_core", "null"}},
    {"DlaCoreTooLarge", [](json& s) { s["identity"]["settings"]["dla_core"] = 16; }, {"dla_core", "16"}},
    {"NoBatches", [](json& s) { s["identity"]["settings"].erase("batches"); }, {"batches"}},
    {"TensorName", [](json& s) { s["tensors"][0]["name"] = "picture"; }, {"input \"", "none of that name"}},
    {"TensorMode", [](json& s) { s["tensors"][1]["mode"] = "input"; }, {"output \"", "found input"}},
    {"TensorShape", [](json& s) { s["tensors"][0]["shape"][2] = 65; }, {"64", "65"}},
    {"TensorType", [](json& s) { s["tensors"][0]["type"] = "uint8"; }, {"float32", "uint8"}},
    {"TensorsMissing", [](json& s) { s["tensors"].erase(1); }, {"tensors", "expected 2", "found 1"}},
};

class PlanFaults : public testing::TestWithParam<Fault> {};

TEST_P(PlanFaults, AreRefusedWithTheReason) {
  const TemporaryFolder folder;
  edit(write(folder.path(), request()), GetParam().change);
  expect_parts(reason_of(find_plan(folder.path(), request())), GetParam().parts);
}

INSTANTIATE_TEST_SUITE_P(PlanCache, PlanFaults, testing::ValuesIn(kFaults),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(PlanSidecar, SettingsMayHoldMore) {
  const TemporaryFolder folder;
  edit(write(folder.path(), request()), [](json& s) {
    s["identity"]["settings"]["batches"] = {1, 4, 8};
    s["identity"]["settings"]["of_a_later_exporter"] = true;
    s["tensors"][0]["shape"][0] = -1;
    s["tensors"][1]["type"] = "float16";
  });
  EXPECT_TRUE(find_plan(folder.path(), request()).plan);
}

TEST(PlanSidecar, RtxPlansAreForManyGpus) {
  const PlanDevice h200{.name = "NVIDIA H200", .compute_capability = 90};
  const PlanDevice t4{.name = "Tesla T4", .compute_capability = 75};
  EXPECT_TRUE(covers("sm80-up", h200, "tensorrt_rtx"));
  EXPECT_FALSE(covers("sm80-up", t4, "tensorrt_rtx"));
  EXPECT_TRUE(covers("sm75", t4, "tensorrt_rtx"));
  EXPECT_TRUE(covers("sm89-sm75", t4, "tensorrt_rtx"));
  EXPECT_FALSE(covers("sm89-sm86", t4, "tensorrt_rtx"));
  EXPECT_FALSE(covers("sm80-up", h200, "tensorrt"));
  EXPECT_EQ(target_of({.name = " Orin (nvgpu) ", .compute_capability = 87}, "tensorrt"), "orin-nvgpu-sm87");
}

TEST(PlanSidecar, NothingInItIsTrusted) {
  const TemporaryFolder folder;
  const fs::path file = write(folder.path(), request());
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string("null"),
                                  std::string(2U << 20, ' '), std::string(R"({"format":"stpl-plan-1"})")}) {
    write_text(beside(file), text);
    EXPECT_NE(reason_of(find_plan(folder.path(), request())), "no single reason");
  }
}

TEST(OnnxFile, StoredPrecisionIsThatOfWeightsAndCasts) {
  EXPECT_EQ(stored_precision(read_text(made_bundle("half_pixel") / "segment.onnx")), "fp32");
  EXPECT_EQ(stored_precision(""), "fp32");
  // ModelProto.graph { initializer { data_type } } and graph { node { op_type, attribute { name, i } } }.
  const auto bytes = [](std::initializer_list<int> values) {
    return std::string(values.begin(), values.end());
  };
  EXPECT_EQ(stored_precision(bytes({0x3A, 4, 0x2A, 2, 0x10, 10})), "fp16");
  EXPECT_EQ(stored_precision(bytes({0x3A, 4, 0x2A, 2, 0x10, 16})), "bf16");
  const std::string attribute = bytes({0x2A, 6, 0x0A, 2, 't', 'o', 0x18, 10});
  const std::string node = bytes({0x22, 4, 'C', 'a', 's', 't'}) + attribute;
  const std::string graph = bytes({0x0A, static_cast<int>(node.size())}) + node;
  EXPECT_EQ(stored_precision(bytes({0x3A, static_cast<int>(graph.size())}) + graph), "fp16");
  EXPECT_TRUE(has_operator(bytes({0x3A, static_cast<int>(graph.size())}) + graph, "Cast"));
  EXPECT_FALSE(has_operator(bytes({0x3A, static_cast<int>(graph.size())}) + graph, "Cas"));
}

}  // namespace
}  // namespace stpl_rt::test
