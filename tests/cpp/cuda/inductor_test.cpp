// Frames with PyTorch's AOTInductor in TensorRT's place: the engine of benchmarks/inductor_engine.cpp on an
// emulated GPU, with a package for the processor. STPL_INDUCTOR_BUNDLE names the bundle that has one
// (scripts/inductor.sh makes it).
#include <cstdlib>

#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

constexpr int kFrames = 7;

class Inductor : public testing::Test {
 protected:
  void SetUp() override {
    const char* const folder = std::getenv("STPL_INDUCTOR_BUNDLE");
    ASSERT_NE(folder, nullptr) << "expected STPL_INDUCTOR_BUNDLE to name a bundle with its package";
    folder_ = folder;
  }

  // Of each frame, on `device`.
  [[nodiscard]] std::vector<Result> segmented(const std::string& device) const {
    SegmenterOptions options;
    options.device = device;
    options.schedule = Schedule::parse("fixed:3");
    options.scene_cuts = false;
    Segmenter segmenter(Bundle::open(folder_), options);
    std::vector<Result> results;
    for (int t = 0; t < kFrames; ++t)
      results.push_back(segmenter.push(textured_picture(200, 120, t).frame()));
    return results;
  }
  // The message with which a Segmenter is refused on the GPU, its bundle a copy that `change` was applied to.
  [[nodiscard]] std::string refusal(const std::function<void(const fs::path&)>& change) const {
    const TemporaryFolder copy;
    fs::copy(folder_, copy.path(), fs::copy_options::recursive);
    change(copy.path() / "segment.f32.pt2");
    SegmenterOptions options;
    options.device = "cuda";
    try {
      const Segmenter segmenter(Bundle::open(copy.path()), options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
};

TEST_F(Inductor, SegmentsAsTheProcessorDoes) {
  const auto expected = segmented("cpu"), found = segmented("cuda");
  for (std::size_t t = 0; t < kFrames; ++t) {
    SCOPED_TRACE(t);
    const ByteMap& one = expected[t].labels;
    const ByteMap& other = found[t].labels;
    ASSERT_EQ(found[t].is_key, t % 3 == 0);
    ASSERT_EQ(one.size(), other.size());
    int differing = 0;
    for (std::size_t i = 0; i < one.size(); ++i) differing += one.bytes()[i] != other.bytes()[i] ? 1 : 0;
    EXPECT_LT(differing, 0.001 * static_cast<double>(one.size()));
  }
}

TEST_F(Inductor, NamesThePackageThatIsNotThereOrCannotBeRead) {
  EXPECT_TRUE(refusal([](const fs::path& package) { fs::remove(package); }).find("inductor_packages.py") !=
              std::string::npos);
  const std::string broken = refusal([](const fs::path& package) { write_text(package, "none"); });
  EXPECT_TRUE(broken.find("segment.f32.pt2: ") != std::string::npos) << broken;
}

// What a package throws while it runs is none of the exceptions that PyTorch's own library has.
TEST_F(Inductor, NamesThePackageThatFailsWhileItRuns) {
  ASSERT_EQ(setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 1), 0);
  const std::string failed = refusal([](const fs::path& package) {
    const fs::path file = package.parent_path() / "manifest.json";
    nlohmann::json manifest = nlohmann::json::parse(read_text(file));
    auto& network = manifest["networks"]["segment"];
    for (auto* sides : {&manifest["input"], &manifest["logits"]}) {
      (*sides)["width"] = 2 * (*sides)["width"].get<int>();
    }
    for (auto* tensor : {&network["inputs"][0], &network["outputs"][0]}) {
      (*tensor)["shape"][3] = 2 * (*tensor)["shape"][3].get<int>();
    }
    write_text(file, manifest.dump());
  });
  unsetenv("AOTI_RUNTIME_CHECK_INPUTS");
  EXPECT_TRUE(failed.find("segment.f32.pt2: ") != std::string::npos) << failed;
}

}  // namespace
}  // namespace stpl_rt::test
