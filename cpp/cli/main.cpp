// stpl-segment: Y4M video in, labels and timings out.
#include <stpl_rt/stpl_rt.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <iostream>
#include <memory>

#include "cli/arguments.h"
#include "cli/output.h"
#include "cli/summary.h"
#include "cli/y4m.h"

namespace stpl_rt::cli {
namespace {

constexpr int kDone = 0;
constexpr int kFault = 1;
constexpr int kMistake = 2;
constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells have it

volatile std::sig_atomic_t interrupted = 0;

struct Interrupted {};

void install_signals() {
  // Without SA_RESTART a read that waits for a camera ends too.
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C kills
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is a failed write, reported as such
}

class Outputs {
 public:
  Outputs(const Arguments& arguments, const Y4mHeader& video) {
    if (!arguments.labels.empty()) {
      labels_ = std::make_unique<MapWriter>(arguments.labels, arguments.format, video);
    }
    if (!arguments.confidence.empty()) {
      confidence_ = std::make_unique<MapWriter>(arguments.confidence, arguments.format, video);
    }
    if (!arguments.timings.empty()) timings_ = std::make_unique<TimingWriter>(arguments.timings);
  }

  void write(const Result& result) {
    if (labels_) labels_->write(result.labels);
    if (confidence_) confidence_->write(result.confidence);
    if (timings_) timings_->write(result);
  }

  void commit() {
    if (labels_) labels_->commit();
    if (confidence_) confidence_->commit();
    if (timings_) timings_->commit();
  }

 private:
  std::unique_ptr<MapWriter> labels_, confidence_;
  std::unique_ptr<TimingWriter> timings_;
};

bool next_frame(Y4mReader& video) {
  try {
    const bool more = interrupted == 0 && video.next();
    if (interrupted != 0) throw Interrupted();
    return more;
  } catch (const UserError&) {
    if (interrupted != 0) throw Interrupted();  // the read was cut short, not the video
    throw;
  }
}

void segment(const Arguments& arguments, std::istream& stream) {
  Y4mReader video(stream, arguments.input == "-" ? "standard input" : arguments.input);
  Segmenter segmenter(arguments.bundle, arguments.options);
  Outputs outputs(arguments, video.header());
  Summary summary;
  int frames = 0;
  const auto start = std::chrono::steady_clock::now();
  for (; next_frame(video); ++frames) {
    const Result result = segmenter.push(video.frame());
    outputs.write(result);
    summary.add(result);
  }
  if (frames == 0) throw UserError(arguments.input + ": expected at least one frame, found none");
  outputs.commit();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  std::cerr << segmenter.bundle().name << ", schedule " << segmenter.schedule().to_string() << ", precision "
            << to_string(arguments.options.precision) << ", threads " << segmenter.threads() << ": "
            << summary.text(wall.count());
}

void run(const std::vector<std::string>& words) {
  const Arguments arguments = parse_arguments(words);
  if (arguments.help) {
    std::cout << kUsage;
    return;
  }
  if (arguments.input == "-") return segment(arguments, std::cin);
  std::ifstream file(arguments.input, std::ios::binary);
  if (!file || std::filesystem::is_directory(arguments.input)) {
    throw UserError(arguments.input + ": expected a Y4M file, found none that can be read");
  }
  segment(arguments, file);
}

int status_of(const Error& error) {
  const bool fault = error.code() == ErrorCode::engine || error.code() == ErrorCode::internal;
  return fault ? kFault : kMistake;
}

int guarded_main(const std::vector<std::string>& words) {
  try {
    run(words);
    return kDone;
  } catch (const Interrupted&) {
    std::cerr << "stpl-segment: interrupted; no output was kept\n";
    return kInterrupted;
  } catch (const UserError& error) {
    std::cerr << "stpl-segment: " << error.what() << "\n";
    return kMistake;
  } catch (const Error& error) {
    std::cerr << "stpl-segment: " << error.what() << "\n";
    return status_of(error);
  } catch (const std::exception& error) {
    std::cerr << "stpl-segment: " << error.what() << "\n";
    return kFault;
  }
}

}  // namespace
}  // namespace stpl_rt::cli

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  stpl_rt::cli::install_signals();
  return stpl_rt::cli::guarded_main({argv + 1, argv + argc});
}
