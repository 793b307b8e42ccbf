// The C interface: what it says is what the C++ one says, and what is wrong comes back as a status.
#include <atomic>
#include <limits>
#include <span>
#include <thread>

#include "c_api/c_api_from_c.h"
#include "c_api/handles.h"

namespace stpl_rt::test {
namespace {

// --- names and versions ---

TEST(CApi, SaysItsVersions) {
  EXPECT_STREQ(stpl_version(), STPL_RT_VERSION);
  EXPECT_EQ(stpl_c_api_version(), STPL_C_API_VERSION);
}

TEST(CApi, NamesEveryStatusAsCppDoes) {
  const std::vector<std::pair<stpl_status, std::string>> expected = {
      {STPL_OK, "ok"},
      {STPL_INVALID_ARGUMENT, to_string(ErrorCode::invalid_argument)},
      {STPL_INVALID_BUNDLE, to_string(ErrorCode::invalid_bundle)},
      {STPL_IO, to_string(ErrorCode::io)},
      {STPL_UNSUPPORTED, to_string(ErrorCode::unsupported)},
      {STPL_IN_USE, to_string(ErrorCode::in_use)},
      {STPL_ENGINE, to_string(ErrorCode::engine)},
      {STPL_INTERNAL, to_string(ErrorCode::internal)},
      {STPL_QUEUE_FULL, "queue_full"}};
  for (const auto& [status, name] : expected) EXPECT_EQ(stpl_status_name(status), name);
  EXPECT_STREQ(status_name_of_number(9), "unknown");
  EXPECT_STREQ(status_name_of_number(-1), "unknown");
}

TEST(CApi, WorksFromC) {
  const Picture picture = textured_picture(320, 192);
  const stpl_frame frame = c_frame(picture);
  std::vector<std::uint8_t> labels(320U * 192U, 99);
  ASSERT_EQ(segment_once_from_c(coarse_bundle().c_str(), &frame, labels.data()), STPL_OK)
      << stpl_last_error();
  Segmenter segmenter(coarse_bundle());
  const Result expected = segmenter.push(picture.frame());
  EXPECT_TRUE(std::equal(labels.begin(), labels.end(), expected.labels.data()));
  EXPECT_EQ(segment_once_from_c("nowhere", &frame, labels.data()), STPL_IO);
}

// --- errors ---

TEST(CApiErrors, AreOfTheThreadThatMadeThem) {
  stpl_bundle* bundle = nullptr;
  expect_failure(stpl_bundle_open("nowhere", &bundle), STPL_IO, {"nowhere"});
  const std::string before = stpl_last_error();
  std::string other_before = "not asked", other_after;
  std::thread([&] {
    other_before = stpl_last_error();
    (void)stpl_bundle_open(nullptr, &bundle);
    other_after = stpl_last_error();
  }).join();
  EXPECT_EQ(other_before, "");
  EXPECT_NE(other_after.find("directory"), std::string::npos) << other_after;
  EXPECT_EQ(stpl_last_error(), before);
  (void)open_bundle();  // what succeeds says nothing
  EXPECT_EQ(stpl_last_error(), before);
}

TEST(CApiErrors, ANullHandleIsRefusedOrSaysNothing) {
  stpl_bundle_free(nullptr);
  stpl_segmenter_free(nullptr);
  stpl_result_free(nullptr);
  EXPECT_EQ(stpl_bundle_name(nullptr), nullptr);
  EXPECT_EQ(stpl_bundle_classes(nullptr), 0);
  EXPECT_EQ(stpl_bundle_class_name(nullptr, 0), nullptr);
  EXPECT_EQ(stpl_bundle_input_width(nullptr), 0);
  EXPECT_EQ(stpl_bundle_input_height(nullptr), 0);
  EXPECT_EQ(stpl_bundle_logits_width(nullptr), 0);
  EXPECT_EQ(stpl_bundle_logits_height(nullptr), 0);
  EXPECT_EQ(stpl_bundle_provenance(nullptr), nullptr);
  EXPECT_EQ(stpl_bundle_directory(nullptr), nullptr);
  EXPECT_EQ(stpl_bundle_schema_version(nullptr), 0);
  EXPECT_EQ(stpl_bundle_input_color_order(nullptr), STPL_ORDER_RGB);
  EXPECT_EQ(stpl_bundle_input_mean(nullptr), nullptr);
  EXPECT_EQ(stpl_bundle_input_std(nullptr), nullptr);
  EXPECT_EQ(stpl_bundle_input_lut(nullptr), nullptr);
  EXPECT_EQ(stpl_bundle_input_resize(nullptr), STPL_STRETCH);
  EXPECT_EQ(stpl_bundle_input_filter(nullptr), STPL_BILINEAR);
  EXPECT_EQ(stpl_bundle_network(nullptr, "segment"), nullptr);
  EXPECT_EQ(stpl_network_file(nullptr), nullptr);
  EXPECT_EQ(stpl_network_sha256(nullptr), nullptr);
  EXPECT_EQ(stpl_network_inputs(nullptr), 0);
  EXPECT_EQ(stpl_network_outputs(nullptr), 0);
  EXPECT_EQ(stpl_network_plans(nullptr), 0);
  EXPECT_EQ(stpl_network_input(nullptr, 0).name, nullptr);
  EXPECT_EQ(stpl_network_output(nullptr, 0).name, nullptr);
  EXPECT_EQ(stpl_network_plan_file(nullptr, 0), nullptr);
  EXPECT_EQ(stpl_network_plan_sha256(nullptr, 0), nullptr);
  EXPECT_EQ(stpl_result_device(nullptr), -1);
  EXPECT_EQ(stpl_result_stream(nullptr), nullptr);
  EXPECT_EQ(stpl_segmenter_bundle(nullptr), nullptr);
  EXPECT_EQ(stpl_segmenter_threads(nullptr), 0);
  EXPECT_EQ(stpl_segmenter_schedule(nullptr), nullptr);
  EXPECT_EQ(stpl_segmenter_pending(nullptr), 0U);
  EXPECT_EQ(stpl_result_labels(nullptr).data, nullptr);
  EXPECT_EQ(stpl_result_confidence(nullptr).data, nullptr);
  EXPECT_EQ(stpl_result_is_key(nullptr), 0);
  EXPECT_EQ(stpl_result_key_reason(nullptr), STPL_KEY_NONE);
  EXPECT_EQ(stpl_result_age(nullptr), 0);
  EXPECT_EQ(stpl_result_drift(nullptr), 0);
  EXPECT_EQ(stpl_result_frame_index(nullptr), 0U);
  EXPECT_EQ(stpl_result_timing(nullptr).total_ms, 0);
  expect_failure(stpl_segmenter_reset(nullptr), STPL_INVALID_ARGUMENT, {"segmenter", "NULL"});
}

// --- bundles ---

TEST(CApiBundle, SaysWhatTheCppOneSays) {
  const Bundle expected = Bundle::open(coarse_bundle());
  const Handle<stpl_bundle> bundle = open_bundle();
  EXPECT_EQ(stpl_bundle_name(bundle.get()), expected.name);
  ASSERT_EQ(stpl_bundle_classes(bundle.get()), static_cast<int>(expected.classes.size()));
  for (int i = 0; i < stpl_bundle_classes(bundle.get()); ++i) {
    const ClassInfo& info = expected.classes[static_cast<std::size_t>(i)];
    EXPECT_EQ(stpl_bundle_class_name(bundle.get(), i), info.name);
    std::array<std::uint8_t, 3> rgb{};
    EXPECT_EQ(stpl_bundle_class_color(bundle.get(), i, rgb.data()), STPL_OK);
    EXPECT_EQ(rgb, info.color);
  }
  EXPECT_EQ(stpl_bundle_input_width(bundle.get()), expected.input.width);
  EXPECT_EQ(stpl_bundle_input_height(bundle.get()), expected.input.height);
  EXPECT_EQ(stpl_bundle_logits_width(bundle.get()), expected.logits.width);
  EXPECT_EQ(stpl_bundle_logits_height(bundle.get()), expected.logits.height);
  EXPECT_EQ(stpl_bundle_align_corners(bundle.get()) != 0, expected.logits.align_corners);
  EXPECT_EQ(stpl_bundle_ignore_id(bundle.get()), expected.ignore_id);
  EXPECT_EQ(stpl_bundle_default_schedule(bundle.get()), expected.default_schedule.to_string());
  EXPECT_EQ(stpl_bundle_provenance(bundle.get()), expected.provenance_json);
  EXPECT_EQ(stpl_bundle_directory(bundle.get()), expected.directory.string());
  EXPECT_EQ(stpl_bundle_schema_version(bundle.get()), expected.schema_version);
}

TEST(CApiBundle, SaysWhatBecomesOfTheInput) {
  const TemporaryFolder folder;
  const fs::path changed = changed_bundle(folder, "coarse", [](nlohmann::json& manifest) {
    nlohmann::json& input = manifest["input"];
    input["color_order"] = "bgr";
    input["resize"] = "letterbox";
    input["filter"] = "area";
    for (int c = 0; c < 3; ++c) {
      for (int i = 0; i < 256; ++i) input["lut"][c][i] = (i + 10 * (c + 1)) % 256;
    }
  });
  const auto opened = [](const fs::path& path) {
    stpl_bundle* bundle = nullptr;
    EXPECT_EQ(stpl_bundle_open(path.c_str(), &bundle), STPL_OK) << stpl_last_error();
    return Handle<stpl_bundle>(bundle);
  };
  for (const fs::path& path : {made_bundle("coarse"), changed}) {
    const InputSpec expected = Bundle::open(path).input;
    const Handle<stpl_bundle> bundle = opened(path);
    ASSERT_NE(stpl_bundle_input_mean(bundle.get()), nullptr);
    EXPECT_TRUE(std::ranges::equal(std::span(stpl_bundle_input_mean(bundle.get()), 3), expected.mean));
    EXPECT_TRUE(std::ranges::equal(std::span(stpl_bundle_input_std(bundle.get()), 3), expected.std));
    const bool is_changed = path == changed;
    EXPECT_EQ(stpl_bundle_input_color_order(bundle.get()), is_changed ? STPL_ORDER_BGR : STPL_ORDER_RGB);
    EXPECT_EQ(stpl_bundle_input_resize(bundle.get()), is_changed ? STPL_LETTERBOX : STPL_STRETCH);
    EXPECT_EQ(stpl_bundle_input_filter(bundle.get()), is_changed ? STPL_AREA : STPL_BILINEAR);
    const std::uint8_t* const lut = stpl_bundle_input_lut(bundle.get());
    ASSERT_EQ(lut != nullptr, is_changed);
    for (int c = 0; is_changed && c < 3; ++c) EXPECT_EQ(lut[256 * c + 255], 10 * (c + 1) - 1);
  }
}

void expect_tensor(const stpl_tensor& found, const TensorSpec& expected) {
  EXPECT_EQ(found.name, expected.name);
  EXPECT_EQ(found.type, expected.type);
  EXPECT_EQ(std::vector<std::int64_t>(found.shape, found.shape + found.dimensions), expected.shape);
}

TEST(CApiBundle, NamesItsNetworks) {
  const Bundle expected = Bundle::open(made_bundle("accel"));
  stpl_bundle* opened = nullptr;
  ASSERT_EQ(stpl_bundle_open(made_bundle("accel").c_str(), &opened), STPL_OK);
  const Handle<stpl_bundle> bundle(opened);
  for (const NetworkSpec* spec : {&expected.segment, &*expected.fuse, &*expected.update}) {
    const stpl_network* const found = stpl_bundle_network(bundle.get(), spec->name.c_str());
    ASSERT_NE(found, nullptr) << spec->name;
    EXPECT_EQ(stpl_network_file(found), spec->file.string());
    EXPECT_EQ(stpl_network_sha256(found), spec->sha256);
    ASSERT_EQ(stpl_network_inputs(found), static_cast<int>(spec->inputs.size()));
    ASSERT_EQ(stpl_network_outputs(found), static_cast<int>(spec->outputs.size()));
    for (int i = 0; i < stpl_network_inputs(found); ++i) {
      expect_tensor(stpl_network_input(found, i), spec->inputs[static_cast<std::size_t>(i)]);
    }
    expect_tensor(stpl_network_output(found, 0), spec->outputs[0]);
    for (const int none : {-1, stpl_network_inputs(found)}) {
      EXPECT_EQ(stpl_network_input(found, none).name, nullptr);
    }
    EXPECT_EQ(stpl_network_plans(found), 0);
    EXPECT_EQ(stpl_network_plan_file(found, 0), nullptr);
  }
  EXPECT_EQ(stpl_bundle_network(bundle.get(), "other"), nullptr);
  EXPECT_EQ(stpl_bundle_network(bundle.get(), nullptr), nullptr);
  EXPECT_EQ(stpl_bundle_network(open_bundle().get(), "fuse"), nullptr);
}

TEST(CApiBundle, NamesThePlansThatCameWithIt) {
  const TemporaryFolder folder;
  const std::string hash(64, 'a');
  const fs::path with_plan = changed_bundle(folder, "coarse", [&](nlohmann::json& manifest) {
    manifest["networks"]["segment"]["plans"] = {{{"file", "segment.plan"}, {"sha256", hash}}};
  });
  write_text(with_plan / "segment.plan", "code");
  const Bundle expected = Bundle::open(with_plan);
  ASSERT_EQ(expected.segment.plans.size(), 1U);
  stpl_bundle* opened = nullptr;
  ASSERT_EQ(stpl_bundle_open(with_plan.c_str(), &opened), STPL_OK) << stpl_last_error();
  const Handle<stpl_bundle> bundle(opened);
  const stpl_network* const segment = stpl_bundle_network(bundle.get(), "segment");
  ASSERT_EQ(stpl_network_plans(segment), 1);
  EXPECT_EQ(stpl_network_plan_file(segment, 0), expected.segment.plans[0].file.string());
  EXPECT_EQ(stpl_network_plan_sha256(segment, 0), hash);
  EXPECT_EQ(stpl_network_plan_file(segment, 1), nullptr);
}

TEST(CApiBundle, AClassThatIsNotThereIsRefused) {
  const Handle<stpl_bundle> bundle = open_bundle();
  std::uint8_t rgb[3] = {7, 7, 7};
  for (const int id : {-1, 4, 255}) {
    EXPECT_EQ(stpl_bundle_class_name(bundle.get(), id), nullptr);
    expect_failure(stpl_bundle_class_color(bundle.get(), id, rgb), STPL_INVALID_ARGUMENT,
                   {"0 to 3", std::to_string(id)});
  }
  EXPECT_EQ(rgb[0], 7);
  expect_failure(stpl_bundle_class_color(bundle.get(), 0, nullptr), STPL_INVALID_ARGUMENT, {"rgb", "NULL"});
  expect_failure(stpl_bundle_class_color(nullptr, 0, rgb), STPL_INVALID_ARGUMENT, {"bundle", "NULL"});
}

TEST(CApiBundle, WhatCannotBeOpenedLeavesTheOutputAlone) {
  const TemporaryFolder folder;
  const std::string damaged =
      changed_bundle(folder, "coarse", [](nlohmann::json& manifest) { manifest["classes"] = 3; }).string();
  auto* bundle = untouched<stpl_bundle>();
  expect_failure(stpl_bundle_open("nowhere", &bundle), STPL_IO, {"nowhere"});
  expect_failure(stpl_bundle_open(damaged.c_str(), &bundle), STPL_INVALID_BUNDLE, {"classes"});
  expect_failure(stpl_bundle_open(nullptr, &bundle), STPL_INVALID_ARGUMENT, {"directory", "NULL"});
  EXPECT_EQ(bundle, untouched<stpl_bundle>());
  expect_failure(stpl_bundle_open(coarse_bundle().c_str(), nullptr), STPL_INVALID_ARGUMENT, {"out", "NULL"});
}

TEST(CApiBundle, MayGoBeforeItsSegmenters) {
  Handle<stpl_bundle> bundle = open_bundle();
  const stpl_options options = with("fixed:3");
  stpl_segmenter* made = nullptr;
  ASSERT_EQ(stpl_segmenter_create(bundle.get(), &options, &made), STPL_OK) << stpl_last_error();
  const Handle<stpl_segmenter> segmenter(made);
  bundle.reset();
  EXPECT_STREQ(stpl_bundle_name(stpl_segmenter_bundle(segmenter.get())), "coarse");
  Segmenter expected(coarse_bundle(), cpp_with("fixed:3"));
  for (const Picture& picture : drive(4)) {
    expect_same(push(segmenter, c_frame(picture)), expected.push(picture.frame()));
  }
}

// --- options ---

TEST(CApiOptions, DefaultsAreThoseOfCpp) {
  const SegmenterOptions expected;
  const stpl_options found = stpl_default_options();
  EXPECT_EQ(found.device, expected.device);
  EXPECT_EQ(found.schedule, nullptr);
  EXPECT_STREQ(found.precision, to_string(expected.precision));
  EXPECT_EQ(found.threads, expected.threads);
  EXPECT_EQ(found.confidence != 0, expected.confidence);
  EXPECT_EQ(found.scene_cuts != 0, expected.scene_cuts);
  EXPECT_EQ(found.flow_check != 0, expected.flow_check);
  EXPECT_EQ(found.key_lag, expected.key_lag);
  EXPECT_EQ(found.queue, expected.queue);
  EXPECT_EQ(found.build_engines != 0, expected.build_engines);
  EXPECT_EQ(found.trust_engines != 0, expected.trust_engines);
}

// Programs that were compiled with another header than the library: one that knew less, and one that knows
// more.
struct NewerOptions {
  stpl_options known;
  int added;
};

TEST(CApiOptions, SayHowMuchOfThemTheCallerKnows) {
  const Handle<stpl_bundle> bundle = open_bundle();
  stpl_segmenter* made = untouched<stpl_segmenter>();
  NewerOptions newer;
  std::memset(&newer, 0x55, sizeof(newer));
  stpl_options_init(&newer.known, sizeof(newer));
  EXPECT_EQ(newer.known.struct_size, sizeof(newer));
  EXPECT_EQ(newer.added, 0);
  newer.known.schedule = "fixed:7";
  newer.known.threads = 1;
  newer.added = 1;
  expect_failure(stpl_segmenter_create(bundle.get(), &newer.known, &made), STPL_UNSUPPORTED, {"newer"});
  EXPECT_EQ(made, untouched<stpl_segmenter>());
  newer.added = 0;
  ASSERT_EQ(stpl_segmenter_create(bundle.get(), &newer.known, &made), STPL_OK) << stpl_last_error();
  EXPECT_STREQ(stpl_segmenter_schedule(Handle<stpl_segmenter>(made).get()), "fixed:7");

  stpl_options none = {};
  made = untouched<stpl_segmenter>();
  for (const std::size_t size : {std::size_t{0}, sizeof(none) - 1, std::size_t{1} << 40}) {
    none.struct_size = size;
    expect_failure(stpl_segmenter_create(bundle.get(), &none, &made), STPL_INVALID_ARGUMENT,
                   {"struct_size", std::to_string(size), "stpl_default_options"});
  }
  EXPECT_EQ(made, untouched<stpl_segmenter>());
}

TEST(CApiOptions, OfAnOlderCallerAreSetNoFurtherThanItKnows) {
  NewerOptions guarded;
  guarded.added = 77;
  stpl_options_init(&guarded.known, sizeof(stpl_options));
  EXPECT_EQ(guarded.added, 77);
  stpl_options_init(&guarded.known, offsetof(stpl_options, trust_engines));
  stpl_options_init(nullptr, sizeof(stpl_options));
  EXPECT_EQ(guarded.known.queue, SegmenterOptions().queue);
}

TEST(CApiOptions, ASchedulesTextIsTakenApart) {
  for (const char* text : {"every", "fixed:5", "adaptive", "adaptive:0.25:9"}) {
    const Schedule expected = Schedule::parse(text);
    stpl_schedule found;
    ASSERT_EQ(stpl_schedule_parse(text, &found), STPL_OK) << stpl_last_error();
    EXPECT_EQ(static_cast<int>(found.kind), static_cast<int>(expected.kind()));
    EXPECT_EQ(found.interval, expected.interval());
    EXPECT_EQ(found.drift, expected.drift());
  }
  stpl_schedule untold = {STPL_SCHEDULE_FIXED, 77, 7};
  expect_failure(stpl_schedule_parse("sometimes", &untold), STPL_INVALID_ARGUMENT, {"sometimes"});
  expect_failure(stpl_schedule_parse(nullptr, &untold), STPL_INVALID_ARGUMENT, {"text", "NULL"});
  expect_failure(stpl_schedule_parse("every", nullptr), STPL_INVALID_ARGUMENT, {"out", "NULL"});
  EXPECT_EQ(untold.interval, 77);
}

TEST(CApiOptions, NullIsTheDefault) {
  stpl_segmenter* made = nullptr;
  ASSERT_EQ(stpl_segmenter_open(coarse_bundle().c_str(), nullptr, &made), STPL_OK) << stpl_last_error();
  const Handle<stpl_segmenter> without(made);
  stpl_options options = stpl_default_options();
  options.device = options.precision = nullptr;
  options.threads = 1;
  const Handle<stpl_segmenter> segmenter = open_segmenter(options);
  const Segmenter expected(coarse_bundle());
  EXPECT_STREQ(stpl_segmenter_schedule(without.get()), "fixed:3");  // the bundle's own
  EXPECT_EQ(stpl_segmenter_threads(without.get()), expected.threads());
  EXPECT_EQ(stpl_segmenter_threads(segmenter.get()), 1);
}

TEST(CApiOptions, WhatCannotBeIsRefused) {
  const Handle<stpl_bundle> bundle = open_bundle();
  const auto refused = [&](stpl_status status, const std::vector<std::string>& parts, auto&& change) {
    stpl_options options = with("fixed:4");
    change(options);
    auto* segmenter = untouched<stpl_segmenter>();
    expect_failure(stpl_segmenter_open(coarse_bundle().c_str(), &options, &segmenter), status, parts);
    expect_failure(stpl_segmenter_create(bundle.get(), &options, &segmenter), status, parts);
    EXPECT_EQ(segmenter, untouched<stpl_segmenter>());
  };
  const stpl_status invalid = STPL_INVALID_ARGUMENT;
  refused(STPL_UNSUPPORTED, {"device", "toaster"}, [](stpl_options& o) { o.device = "toaster"; });
  refused(invalid, {"fixed:K", "sometimes"}, [](stpl_options& o) { o.schedule = "sometimes"; });
  refused(invalid, {"precision", "f64"}, [](stpl_options& o) { o.precision = "f64"; });
  refused(invalid, {"threads", "-1"}, [](stpl_options& o) { o.threads = -1; });
  refused(invalid, {"key_lag", "found 4"}, [](stpl_options& o) { o.key_lag = 4; });
  refused(invalid, {"queue", "found 0"}, [](stpl_options& o) { o.queue = 0; });
  auto* segmenter = untouched<stpl_segmenter>();
  expect_failure(stpl_segmenter_open(nullptr, nullptr, &segmenter), invalid, {"bundle_directory", "NULL"});
  expect_failure(stpl_segmenter_create(nullptr, nullptr, &segmenter), invalid, {"bundle", "NULL"});
  expect_failure(stpl_segmenter_open("nowhere", nullptr, &segmenter), STPL_IO, {"nowhere"});
  EXPECT_EQ(segmenter, untouched<stpl_segmenter>());
  expect_failure(stpl_segmenter_open(coarse_bundle().c_str(), nullptr, nullptr), invalid, {"out", "NULL"});
  expect_failure(stpl_segmenter_create(bundle.get(), nullptr, nullptr), invalid, {"out", "NULL"});
}

// --- push ---

TEST(CApiPush, SaysWhatCppSays) {
  for (const char* schedule : {"every", "fixed:3", "adaptive:0.05:6"}) {
    stpl_options options = with(schedule);
    options.confidence = schedule[0] == 'f' ? 1 : 0;
    SegmenterOptions cpp_options = cpp_with(schedule);
    cpp_options.confidence = options.confidence != 0;
    const Handle<stpl_segmenter> segmenter = open_segmenter(options);
    EXPECT_STREQ(stpl_segmenter_schedule(segmenter.get()), schedule);
    Segmenter expected(coarse_bundle(), cpp_options);
    std::vector<Picture> pictures = drive(7);
    pictures.push_back(textured_picture(320, 192, 0, 0, 5));  // a cut
    pictures.push_back(textured_picture(300, 200));           // another size
    for (const Picture& picture : pictures) {
      expect_same(push(segmenter, c_frame(picture)), expected.push(picture.frame()));
    }
    EXPECT_EQ(stpl_segmenter_reset(segmenter.get()), STPL_OK);
    expected.reset();
    expect_same(push(segmenter, c_frame(pictures[0])), expected.push(pictures[0].frame()));
  }
}

TEST(CApiPush, WhatConcernsFlowIsPassedOn) {
  stpl_options options = with("fixed:4");
  options.confidence = options.flow_check = 1;
  options.key_lag = 2;
  options.scene_cuts = 0;
  SegmenterOptions cpp_options = cpp_with("fixed:4");
  cpp_options.confidence = cpp_options.flow_check = true;
  cpp_options.key_lag = 2;
  cpp_options.scene_cuts = false;
  const Handle<stpl_segmenter> segmenter = open_segmenter(options);
  Segmenter expected(coarse_bundle(), cpp_options);
  std::vector<Picture> pictures = drive(9);
  pictures[3] = textured_picture(320, 192, 0, 0, 5);
  for (const Picture& picture : pictures) {
    expect_same(push(segmenter, c_frame(picture)), expected.push(picture.frame()));
  }
}

TEST(CApiPush, TakesEveryFormatAndLayout) {
  const int width = 318, height = 190, chroma = 159, stride = 3 * width + 10;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(stride * height));
  const Picture texture = textured_picture(stride, (height + 2) / 3);
  std::copy_n(texture.rgb.begin(), bytes.size(), bytes.begin());
  const std::uint8_t* const data = bytes.data();
  const Frame grey = {.data = data, .width = width, .height = height, .format = PixelFormat::gray};
  std::vector<Frame> frames;
  for (const PixelFormat format : {PixelFormat::rgb, PixelFormat::bgr}) {
    frames.push_back({.data = data, .width = width, .height = height, .stride = stride, .format = format});
  }
  frames.push_back(grey);
  for (const YuvEncoding encoding :
       {YuvEncoding::bt601, YuvEncoding::bt709, YuvEncoding::bt601_full, YuvEncoding::bt709_full}) {
    for (const PixelFormat format : {PixelFormat::nv12, PixelFormat::i420}) {
      Frame frame = grey;
      frame.format = format;
      frame.encoding = encoding;
      frames.push_back(frame);  // dense
      const bool nv12 = format == PixelFormat::nv12;
      frame.chroma = data + 2 * width * height;
      frame.chroma_stride = (nv12 ? 2 * chroma : chroma) + 6;
      frame.chroma_cr = nv12 ? nullptr : frame.chroma + 17;
      frames.push_back(frame);
    }
  }
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("every"));
  Segmenter expected(coarse_bundle(), cpp_with("every"));
  for (const Frame& frame : frames) expect_same(push(segmenter, c_frame(frame)), expected.push(frame));
}

TEST(CApiPush, PassesOnWhatIsKnownOfAFrame) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("fixed:50"));
  Segmenter expected(coarse_bundle(), cpp_with("fixed:50"));
  const std::vector<Picture> pictures = drive(6);
  std::vector<float> vectors(2U * 44U * 24U);
  for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i] = 0.01F * static_cast<float>(i % 50);
  const std::vector<double> times = {0, 0.1, 0.2, 0.3, 2.3, 2.4};  // frames are missing before the fifth
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    stpl_frame_info info = {};
    info.has_timestamp = 1;
    info.timestamp = times[i];
    FrameInfo cpp_info;
    cpp_info.timestamp = times[i];
    if (i % 2 == 1) {  // a grid of 40 x 24 in rows of 44
      info.flow = vectors.data();
      info.flow_width = 40;
      info.flow_height = 24;
      info.flow_stride = 88;
      cpp_info.flow = FlowView{.data = vectors.data(), .width = 40, .height = 24, .stride = 88};
    }
    const Handle<stpl_result> found = push(segmenter, c_frame(pictures[i]), &info);
    expect_same(found, expected.push(pictures[i].frame(), cpp_info));
    EXPECT_EQ(stpl_result_key_reason(found.get()) == STPL_KEY_GAP, i == 4);
  }
}

TEST(CApiPush, ATimestampThatIsNotSaidToBeThereIsNotRead) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("fixed:50"));
  stpl_frame_info info = {};
  for (const double time : {0.0, 100.0, 3.0}) {
    info.timestamp = time;
    EXPECT_NE(stpl_result_key_reason(push(segmenter, c_frame(textured_picture(320, 192)), &info).get()),
              STPL_KEY_GAP);
  }
}

TEST(CApiPush, WhatCannotBeIsRefusedAndTheStreamGoesOn) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("fixed:3"));
  Segmenter expected(coarse_bundle(), cpp_with("fixed:3"));
  const std::vector<Picture> pictures = drive(4);
  const stpl_frame good = c_frame(pictures[0]);
  auto* result = untouched<stpl_result>();
  const auto refused = [&](const std::vector<std::string>& parts, auto&& change) {
    stpl_frame frame = good;
    stpl_frame_info info = {};
    change(frame, info);
    expect_failure(stpl_segmenter_push(segmenter.get(), &frame, &info, &result), STPL_INVALID_ARGUMENT,
                   parts);
  };
  const std::vector<float> bad_flow(2, std::numeric_limits<float>::quiet_NaN());
  for (const Picture& picture : pictures) {
    refused({"pixels"}, [](stpl_frame& f, stpl_frame_info&) { f.data = nullptr; });
    refused({"size", "-2x192"}, [](stpl_frame& f, stpl_frame_info&) { f.width = -2; });
    refused({"16384"}, [](stpl_frame& f, stpl_frame_info&) { f.width = 16385; });
    refused({"stride"}, [](stpl_frame& f, stpl_frame_info&) { f.stride = 5; });
    refused({"flow"}, [&](stpl_frame&, stpl_frame_info& info) {
      info.flow = bad_flow.data();
      info.flow_width = info.flow_height = 1;
    });
    for (const int number : {5, 256, -1, 0x10000000}) {
      const std::string found = std::to_string(static_cast<unsigned>(number));
      expect_failure(push_with_numbers(segmenter.get(), good, number, 0, &result), STPL_INVALID_ARGUMENT,
                     {"format", found});
      expect_failure(push_with_numbers(segmenter.get(), good, 0, number, &result), STPL_INVALID_ARGUMENT,
                     {"encoding", found});
    }
    expect_failure(stpl_segmenter_push(segmenter.get(), nullptr, nullptr, &result), STPL_INVALID_ARGUMENT,
                   {"frame", "NULL"});
    expect_failure(stpl_segmenter_push(nullptr, &good, nullptr, &result), STPL_INVALID_ARGUMENT,
                   {"segmenter", "NULL"});
    expect_failure(stpl_segmenter_push(segmenter.get(), &good, nullptr, nullptr), STPL_INVALID_ARGUMENT,
                   {"out", "NULL"});
    EXPECT_EQ(result, untouched<stpl_result>());
    expect_same(push(segmenter, c_frame(picture)), expected.push(picture.frame()));
  }
}

TEST(CApiPush, TwoThreadsInOneGetAStatus) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("every"));
  const Picture picture = textured_picture(1600, 1200);
  const stpl_frame frame = c_frame(picture);
  std::atomic<int> refused{0}, done{0};
  const auto work = [&] {
    for (int i = 0; i < 30; ++i) {
      stpl_result* result = nullptr;
      const stpl_status status = stpl_segmenter_push(segmenter.get(), &frame, nullptr, &result);
      EXPECT_EQ(result != nullptr, status == STPL_OK);
      stpl_result_free(result);
      EXPECT_TRUE(status == STPL_OK || status == STPL_IN_USE) << stpl_last_error();
      ++(status == STPL_OK ? done : refused);
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_GE(done, 1);
  EXPECT_GE(refused, 1);
}

// --- results ---

TEST(CApiResult, OutlivesItsSegmenterAndMayGoInAnotherThread) {
  const std::vector<Picture> pictures = drive(2);
  Segmenter expected(coarse_bundle(), cpp_with("fixed:3"));
  Handle<stpl_segmenter> segmenter = open_segmenter(with("fixed:3"));
  std::vector<Handle<stpl_result>> results;
  for (const Picture& picture : pictures) results.push_back(push(segmenter, c_frame(picture)));
  segmenter.reset();
  std::thread([&] {
    for (std::size_t i = 0; i < results.size(); ++i) {
      expect_same(results[i], expected.push(pictures[i].frame()));
    }
    results.clear();
  }).join();
}

TEST(CApiResult, MayBeSharedAndCopied) {
  const Picture picture = textured_picture(320, 192);
  Handle<stpl_result> first = push(open_segmenter(with("every")), c_frame(picture));
  stpl_result* raw = untouched<stpl_result>();
  expect_failure(stpl_result_share(nullptr, &raw), STPL_INVALID_ARGUMENT, {"result", "NULL"});
  EXPECT_EQ(raw, untouched<stpl_result>());
  ASSERT_EQ(stpl_result_share(first.get(), &raw), STPL_OK);
  const Handle<stpl_result> second(raw);
  EXPECT_EQ(stpl_result_labels(first.get()).data, stpl_result_labels(second.get()).data);
  first.reset();
  const Result expected = Segmenter(coarse_bundle(), cpp_with("every")).push(picture.frame());
  expect_same(second, expected);
  std::vector<std::uint8_t> copy(320U * 192U + 1, 99);
  ASSERT_EQ(stpl_result_copy_labels(second.get(), copy.data(), copy.size()), STPL_OK) << stpl_last_error();
  EXPECT_TRUE(std::equal(copy.begin(), copy.end() - 1, expected.labels.data()));
  ASSERT_EQ(stpl_result_copy_confidence(second.get(), copy.data(), copy.size()), STPL_OK);
  EXPECT_TRUE(std::equal(copy.begin(), copy.end() - 1, expected.confidence.data()));
  EXPECT_EQ(copy.back(), 99);
  int is_ready = 0;
  EXPECT_EQ(stpl_result_is_ready(second.get(), &is_ready), STPL_OK);
  EXPECT_EQ(is_ready, 1);
  EXPECT_EQ(stpl_result_precede(second.get(), nullptr), STPL_OK);  // nothing on a GPU
  EXPECT_EQ(stpl_result_device(second.get()), -1);
  EXPECT_EQ(stpl_result_stream(second.get()), nullptr);
}

TEST(CApiResult, IsNotCopiedWhereItIsNotOrThereIsNoRoom) {
  stpl_options options = with("every");
  options.confidence = 0;
  const Handle<stpl_result> result = push(open_segmenter(options), c_frame(textured_picture(320, 192)));
  std::vector<std::uint8_t> copy(320U * 192U, 99);
  const std::vector<std::uint8_t> before = copy;
  expect_failure(stpl_result_copy_labels(result.get(), copy.data(), copy.size() - 1), STPL_INVALID_ARGUMENT,
                 {"room for 61440", "found 61439"});
  expect_failure(stpl_result_copy_confidence(result.get(), copy.data(), copy.size()), STPL_INVALID_ARGUMENT,
                 {"confidence", "found none"});
  expect_failure(stpl_result_copy_labels(result.get(), nullptr, 0), STPL_INVALID_ARGUMENT, {"out", "NULL"});
  expect_failure(stpl_result_copy_labels(nullptr, copy.data(), 1), STPL_INVALID_ARGUMENT, {"result", "NULL"});
  expect_failure(stpl_result_is_ready(result.get(), nullptr), STPL_INVALID_ARGUMENT, {"out", "NULL"});
  EXPECT_EQ(copy, before);
}

// --- logits ---

TEST(CApiLogits, AreThoseOfCpp) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("fixed:3"));
  Segmenter expected(coarse_bundle(), cpp_with("fixed:3"));
  const stpl_bundle* const bundle = stpl_segmenter_bundle(segmenter.get());
  const auto count = static_cast<std::size_t>(stpl_bundle_classes(bundle) * stpl_bundle_logits_width(bundle) *
                                              stpl_bundle_logits_height(bundle));
  std::vector<float> found(count + 1, 77), logits;
  expect_failure(stpl_segmenter_logits(segmenter.get(), found.data(), found.size()), STPL_INVALID_ARGUMENT,
                 {"found none"});
  for (const Picture& picture : drive(3)) {
    (void)push(segmenter, c_frame(picture));
    (void)expected.push(picture.frame());
    std::fill(found.begin(), found.end(), 77.F);
    expect_failure(stpl_segmenter_logits(segmenter.get(), found.data(), count - 1), STPL_INVALID_ARGUMENT,
                   {"room for " + std::to_string(count), "found " + std::to_string(count - 1)});
    EXPECT_EQ(found, std::vector<float>(count + 1, 77));
    ASSERT_EQ(stpl_segmenter_logits(segmenter.get(), found.data(), found.size()), STPL_OK);
    EXPECT_EQ(found.back(), 77);
    expected.logits(logits);
    EXPECT_TRUE(std::equal(logits.begin(), logits.end(), found.begin()));
  }
  expect_failure(stpl_segmenter_logits(segmenter.get(), nullptr, count), STPL_INVALID_ARGUMENT,
                 {"out", "NULL"});
  expect_failure(stpl_segmenter_logits(nullptr, found.data(), count), STPL_INVALID_ARGUMENT,
                 {"segmenter", "NULL"});
}

TEST(CApiLogits, AskedForByTwoThreadsAreRightOrRefused) {
  const Handle<stpl_segmenter> segmenter = open_segmenter(with("every"));
  (void)push(segmenter, c_frame(textured_picture(320, 192)));
  std::vector<float> expected(4U * 40U * 24U);
  ASSERT_EQ(stpl_segmenter_logits(segmenter.get(), expected.data(), expected.size()), STPL_OK);
  const auto work = [&] {
    std::vector<float> found(expected.size());
    for (int i = 0; i < 2000; ++i) {
      const stpl_status status = stpl_segmenter_logits(segmenter.get(), found.data(), found.size());
      EXPECT_TRUE(status == STPL_IN_USE || (status == STPL_OK && found == expected));
    }
  };
  std::thread other(work);
  work();
  other.join();
}

}  // namespace
}  // namespace stpl_rt::test
