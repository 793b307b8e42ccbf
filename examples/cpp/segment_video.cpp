// Segments Y4M videos and says how much of each every class covers.
//
//   ffmpeg -v error -i drive.mp4 -pix_fmt yuv420p drive.y4m
//   segment_video street.bundle fixed:5 drive.y4m              one stream: push()
//   segment_video street.bundle fixed:5 front.y4m rear.y4m     several, of one network: submit() and
//   collect()
#include <stpl_rt/stpl_rt.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using Pixels = std::vector<std::uint8_t>;

// 8-bit 4:2:0, whose planes follow each other as an i420 frame's do.
class Y4mVideo {
 public:
  explicit Y4mVideo(const std::string& path) : path_(path), file_(path, std::ios::binary) {
    std::string line, token;
    std::getline(file_, line);
    std::istringstream tokens(line);
    tokens >> token;
    if (token != "YUV4MPEG2") throw std::runtime_error(path_ + ": expected a Y4M video");
    frame_.format = stpl_rt::PixelFormat::i420;
    while (tokens >> token) read_header(token);
    if (frame_.width < 1 || frame_.height < 1) throw std::runtime_error(path_ + ": expected a size");
  }

  // The next frame's pixels; null at the end.
  std::shared_ptr<const Pixels> next() {
    std::string line;
    if (!std::getline(file_, line)) return nullptr;
    const auto chroma = std::size_t{2} * ((frame_.width + 1) / 2) * ((frame_.height + 1) / 2);
    auto pixels = std::make_shared<Pixels>(static_cast<std::size_t>(frame_.width) * frame_.height + chroma);
    file_.read(reinterpret_cast<char*>(pixels->data()), static_cast<std::streamsize>(pixels->size()));
    if (!file_ || !line.starts_with("FRAME")) throw std::runtime_error(path_ + ": damaged or cut short");
    ++frames_;
    return pixels;
  }
  [[nodiscard]] stpl_rt::Frame frame(const Pixels& pixels) const {
    stpl_rt::Frame frame = frame_;
    frame.data = pixels.data();
    return frame;
  }
  // Of the latest frame, in seconds. With it the runtime knows where frames are missing; a file misses none.
  [[nodiscard]] double timestamp() const { return static_cast<double>(frames_ - 1) / rate_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void read_header(const std::string& token) {
    if (token[0] == 'W') frame_.width = std::stoi(token.substr(1));
    if (token[0] == 'H') frame_.height = std::stoi(token.substr(1));
    if (token == "XCOLORRANGE=FULL") frame_.encoding = stpl_rt::YuvEncoding::bt601_full;
    double frames = 0, seconds = 0;
    if (std::sscanf(token.c_str(), "F%lf:%lf", &frames, &seconds) == 2 && frames > 0 && seconds > 0) {
      rate_ = frames / seconds;
    }
    if (token[0] == 'C' && (!token.starts_with("C420") || token.starts_with("C420p1"))) {
      throw std::runtime_error(path_ + ": expected 8-bit 4:2:0, found " + token +
                               "; ffmpeg converts with -pix_fmt yuv420p");
    }
  }

  std::string path_;
  std::ifstream file_;
  stpl_rt::Frame frame_;
  double rate_ = 25;
  int frames_ = 0;
};

struct Summary {
  int frames = 0;
  int keys = 0;
  double milliseconds = 0;
  std::vector<std::size_t> pixels = std::vector<std::size_t>(256);

  void add(const stpl_rt::Result& result) {
    ++frames;
    keys += result.is_key ? 1 : 0;
    milliseconds += result.timing.total_ms;
    for (const std::uint8_t label : result.labels.bytes()) ++pixels[label];
  }
  void print(const std::string& name, const stpl_rt::Bundle& bundle) const {
    std::printf("%s: %d frames, %d key frames, %.2f ms a frame\n", name.c_str(), frames, keys,
                frames > 0 ? milliseconds / frames : 0);
    std::size_t all = 0;
    for (const std::size_t count : pixels) all += count;
    for (std::size_t i = 0; i < bundle.classes.size(); ++i) {
      if (pixels[i] == 0) continue;
      std::printf("  %s %.2f %%\n", bundle.classes[i].name.c_str(),
                  100 * static_cast<double>(pixels[i]) / static_cast<double>(all));
    }
  }
};

struct Stream {
  Y4mVideo video;
  stpl_rt::Segmenter segmenter;
  Summary summary;
  bool ended = false;
};

// One after the other: push() returns a frame's result before the next is read.
void run(Stream& stream) {
  while (const auto pixels = stream.video.next()) {
    stream.summary.add(
        stream.segmenter.push(stream.video.frame(*pixels), {.timestamp = stream.video.timestamp()}));
  }
}

// In turns: while one stream's frame is read, those of the others are segmented. Nothing is copied, for the
// pixels' owner is passed along. Waiting at collect() with fewer than options.queue frames on their way, this
// one thread never waits at submit().
void run(std::vector<Stream>& streams) {
  constexpr std::size_t kAhead = 2;
  for (bool busy = true; busy;) {
    busy = false;
    for (Stream& stream : streams) {
      const auto pixels = stream.ended ? nullptr : stream.video.next();
      stream.ended = pixels == nullptr;
      if (pixels) {
        stream.segmenter.submit(stream.video.frame(*pixels), {.timestamp = stream.video.timestamp()}, pixels);
      }
      const std::size_t pending = stream.segmenter.pending();
      if (pending > (stream.ended ? 0 : kAhead)) stream.summary.add(stream.segmenter.collect());
      busy = busy || !stream.ended || pending > 1;
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s BUNDLE every|fixed:K|adaptive VIDEO.y4m...\n", argv[0]);
    return 2;
  }
  const stpl_rt::Bundle bundle = stpl_rt::Bundle::open(argv[1]);
  const stpl_rt::SegmenterOptions options = {.schedule = stpl_rt::Schedule::parse(argv[2])};
  std::vector<Stream> streams;
  for (int i = 3; i < argc; ++i)
    streams.push_back({Y4mVideo(argv[i]), stpl_rt::Segmenter(bundle, options), {}});
  if (streams.size() == 1) {
    run(streams.front());
  } else {
    run(streams);
  }
  for (const Stream& stream : streams) stream.summary.print(stream.video.path(), bundle);
  return 0;
} catch (const stpl_rt::Error& error) {
  std::fprintf(stderr, "%s: %s\n", to_string(error.code()), error.what());
  return 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
