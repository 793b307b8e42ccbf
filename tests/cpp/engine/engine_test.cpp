#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "core/sha256.h"
#include "engine/onnx_file.h"
#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

using nlohmann::json;

std::unique_ptr<Engine> engine_of(const fs::path& bundle, const std::string& device = "cpu",
                                  Precision precision = Precision::f32) {
  return compile_network(Bundle::open(bundle).segment, device, precision, 1)->make_engine();
}

// A picture that fills the network's input, normalised as the manifest says.
void fill(const Picture& picture, std::span<float> input) {
  constexpr float kMean[] = {112, 120, 128}, kStd[] = {64, 64, 32};
  const auto plane = static_cast<std::size_t>(picture.width * picture.height);
  for (std::size_t i = 0; i < plane; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      input[c * plane + i] = (static_cast<float>(picture.rgb[3 * i + c]) - kMean[c]) / kStd[c];
    }
  }
}

void expect_logits(std::span<const float> logits, const Reference& reference) {
  const int width = reference.width(), height = reference.height();
  ASSERT_EQ(logits.size(), static_cast<std::size_t>(Reference::kClasses * width * height));
  double worst = 0;
  for (int c = 0; c < Reference::kClasses; ++c) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const float found = logits[static_cast<std::size_t>((c * height + y) * width + x)];
        worst = std::max(worst, std::abs(found - reference.logit(x, y)[static_cast<std::size_t>(c)]));
      }
    }
  }
  EXPECT_LT(worst, 1e-4);
}

TEST(Engine, RunsTheNetwork) {
  for (const bool corners : {false, true}) {
    const Picture picture = corners ? textured_picture(97, 65) : textured_picture(96, 64);
    const auto engine = engine_of(made_bundle(corners ? "corners" : "half_pixel"));
    ASSERT_EQ(engine->input().size(), picture.rgb.size());
    fill(picture, engine->input());
    expect_logits(engine->infer(), Reference(picture, picture.width, picture.height, corners));
  }
}

using Clock = std::chrono::steady_clock;

// A network of many layers stops between two of them, and runs again afterwards.
TEST(Engine, ARunThatIsCancelledEndsSoon) {
  const auto engine = engine_of(made_bundle("slow"));
  fill(textured_picture(320, 192), engine->input());
  const std::span<const float> first = engine->infer();
  const std::vector<float> expected(first.begin(), first.end());
  Clock::duration whole = Clock::duration::max(), rest = Clock::duration::max();
  for (int time = 0; time < 3; ++time) {
    auto begin = Clock::now();
    (void)engine->infer();
    whole = std::min(whole, Clock::now() - begin);
    engine->start();
    begin = Clock::now();
    engine->cancel();
    try {
      (void)engine->wait();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::engine);
    }
    rest = std::min(rest, Clock::now() - begin);
  }
  EXPECT_LT(rest, whole / 2);
  engine->start();
  EXPECT_TRUE(std::ranges::equal(engine->wait(), expected));
  engine->cancel();  // what has ended already
  EXPECT_TRUE(std::ranges::equal(engine->infer(), expected));
}

TEST(Engine, AnEngineThatGoesDoesNotRunToItsEnd) {
  const auto network = compile_network(Bundle::open(made_bundle("slow")).segment, "cpu", Precision::f32, 1);
  Clock::duration whole = Clock::duration::max(), rest = Clock::duration::max();
  for (int time = 0; time < 3; ++time) {
    auto engine = network->make_engine();
    auto begin = Clock::now();
    (void)engine->infer();
    whole = std::min(whole, Clock::now() - begin);
    engine->start();
    begin = Clock::now();
    engine.reset();
    rest = std::min(rest, Clock::now() - begin);
  }
  EXPECT_LT(rest, whole / 2);
}

TEST(Engine, NeitherCopiesNorMovesItsTensors) {
  const auto engine = engine_of(made_bundle("half_pixel"));
  const float* const input = engine->input().data();
  fill(textured_picture(96, 64), engine->input());
  const float* const first = engine->infer().data();
  const Picture other = textured_picture(96, 64, 30, 10);
  fill(other, engine->input());
  const std::span<const float> logits = engine->infer();
  EXPECT_EQ(engine->input().data(), input);
  EXPECT_EQ(logits.data(), first);
  expect_logits(logits, Reference(other, 96, 64, false));
}

TEST(Engine, RefusesOtherDevices) {
  expect_error(ErrorCode::unsupported, {"\"cpu\"", "\"cuda\""},
               [] { (void)engine_of(made_bundle("half_pixel"), "cuda"); });
}

TEST(Engine, RunsExactlyThePrecisionAskedForOrRefuses) {
  for (const Precision precision : {Precision::bf16, Precision::f16}) {
    try {
      const auto engine = engine_of(made_bundle("half_pixel"), "cpu", precision);
      fill(textured_picture(96, 64), engine->input());
      EXPECT_EQ(engine->infer().size(), 4U * 16 * 24);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported) << error.what();
      EXPECT_NE(std::string(error.what()).find(to_string(precision)), std::string::npos);
    }
  }
}

TEST(Engine, RefusesANetworkThatIsNotTheManifests) {
  const TemporaryFolder folder;
  const fs::path names = changed_bundle(
      folder, "half_pixel", [](json& m) { m["networks"]["segment"]["inputs"][0]["name"] = "picture"; });
  expect_error(ErrorCode::invalid_bundle, {"segment.onnx", "input", "\"picture\"", "\"image\""},
               [&] { (void)engine_of(names); });
  // A manifest that is consistent in itself, but of another network.
  const fs::path shapes = changed_bundle(folder, "corners", [](json& m) {
    m["logits"]["width"] = 24;
    m["networks"]["segment"]["outputs"][0]["shape"][3] = 24;
  });
  expect_error(ErrorCode::invalid_bundle, {"segment.onnx", "output", "[1,4,17,24]", "[1,4,17,25]"},
               [&] { (void)engine_of(shapes); });
}

TEST(Engine, RefusesWeightsInAnotherFile) {
  const std::string inside = read_text(made_bundle("half_pixel") / "segment.onnx");
  const std::string outside = read_text(made_bundle("external") / "segment.onnx");
  EXPECT_EQ(weights_of(inside), Weights::inside);
  EXPECT_EQ(weights_of(outside), Weights::outside);
  for (std::size_t length = 0; length < inside.size(); ++length) {  // cut anywhere: no harm, no false alarm
    EXPECT_NE(weights_of(std::string_view(inside).substr(0, length)), Weights::outside);
  }
  NetworkSpec network = Bundle::open(made_bundle("half_pixel")).segment;
  network.file = made_bundle("external") / "segment.onnx";
  network.sha256 = sha256_file(network.file);
  expect_error(ErrorCode::invalid_bundle, {"segment.onnx", "inside the file", "external data"},
               [&] { (void)compile_network(network, "cpu", Precision::f32, 1); });
}

TEST(Engine, TakesNoNetworkThatItCannotLookThrough) {
  using namespace std::string_literals;
  const std::string outside = read_text(made_bundle("external") / "segment.onnx");
  const std::string group = "\xa3\x06\xa4\x06"s;  // begun and ended: other parsers skip it and read on
  // Field 7 by its lowest 32 bits, which is all that other parsers look at.
  const std::string long_key = "\xba\x80\x80\x80\x10\x00"s;
  for (const std::string& front : {group, long_key}) {
    EXPECT_EQ(weights_of(front + outside), Weights::unreadable);
    EXPECT_EQ(weights_of(front), Weights::unreadable);
  }
  const TemporaryFolder folder;
  NetworkSpec network = Bundle::open(made_bundle("half_pixel")).segment;
  network.file = folder.path() / "segment.onnx";
  std::ofstream(network.file, std::ios::binary)
      << group << read_text(made_bundle("half_pixel") / "segment.onnx");
  network.sha256 = sha256_file(network.file);
  expect_error(ErrorCode::invalid_bundle, {"segment.onnx", "expected an ONNX file"},
               [&] { (void)compile_network(network, "cpu", Precision::f32, 1); });
}

TEST(Engine, RefusesAFileThatWasWrittenAnewSinceTheBundleWasOpened) {
  const TemporaryFolder folder;
  const Bundle bundle = Bundle::open(changed_bundle(folder, "half_pixel", [](json&) {}));
  fs::copy_file(made_bundle("fragile") / "segment.onnx", bundle.segment.file,
                fs::copy_options::overwrite_existing);
  expect_error(ErrorCode::invalid_bundle, {"segment.onnx", "content", bundle.segment.sha256},
               [&] { (void)compile_network(bundle.segment, "cpu", Precision::f32, 1); });
}

TEST(Engine, SaysThatANetworkCannotBeRead) {
  NetworkSpec network = Bundle::open(made_bundle("half_pixel")).segment;
  const TemporaryFolder folder;
  network.file = folder.path() / "segment.onnx";
  write_text(network.file, "\x08\x08");  // a message with a version of ONNX, and nothing else
  network.sha256 = sha256_file(network.file);
  expect_error(ErrorCode::engine, {"segment.onnx", "OpenVINO"},
               [&] { (void)compile_network(network, "cpu", Precision::f32, 1); });
  network.file = folder.path() / "gone.onnx";
  expect_error(ErrorCode::io, {"gone.onnx"},
               [&] { (void)compile_network(network, "cpu", Precision::f32, 1); });
}

}  // namespace
}  // namespace stpl_rt::test
