#include "cli/y4m.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <utility>

#include "cli/arguments.h"
#include "core/image.h"
#include "core/simd.h"
#include "ops/yuv_row.h"

namespace stpl_rt::cli {
namespace {

constexpr std::size_t kMaxLine = 4096;
constexpr std::size_t kMaxPiece = std::size_t{1} << 20;  // of a frame, read at a time

int parse_side(const std::string& name, const std::string& token) {
  int side = 0;
  const char* const first = token.data() + 1;
  const char* const last = token.data() + token.size();
  const auto [end, error] = std::from_chars(first, last, side);
  if (error != std::errc() || end != last || side < 1 || side > kMaxSide) {
    throw UserError(name + ": expected a width and height from 1 to " + std::to_string(kMaxSide) +
                    " in the Y4M header, found \"" + token + "\"");
  }
  return side;
}

Chroma parse_chroma(const std::string& name, const std::string& token) {
  static constexpr std::array<std::pair<const char*, Chroma>, 7> kKnown = {{{"C420", Chroma::c420},
                                                                            {"C420jpeg", Chroma::c420},
                                                                            {"C420mpeg2", Chroma::c420},
                                                                            {"C420paldv", Chroma::c420},
                                                                            {"C422", Chroma::c422},
                                                                            {"C444", Chroma::c444},
                                                                            {"Cmono", Chroma::mono}}};
  for (const auto& [text, chroma] : kKnown) {
    if (token == text) return chroma;
  }
  throw UserError(name +
                  ": expected 8-bit Y4M, one of C420, C420jpeg, C420mpeg2, C420paldv, C422, C444 and " +
                  "Cmono, found \"" + token + "\"; ffmpeg converts with -pix_fmt yuv420p");
}

Y4mHeader parse_header(const std::string& name, const std::string& line) {
  std::istringstream tokens(line);
  std::string token;
  tokens >> token;
  if (token != "YUV4MPEG2")
    throw UserError(name + ": expected a Y4M video (\"YUV4MPEG2 ...\"), found other data");
  Y4mHeader header;
  header.frame_rate = "0:0";
  std::string range;
  while (tokens >> token) {
    if (token[0] == 'W') header.width = parse_side(name, token);
    if (token[0] == 'H') header.height = parse_side(name, token);
    if (token[0] == 'F') header.frame_rate = token.substr(1);
    if (token[0] == 'C') header.chroma = parse_chroma(name, token);
    if (token.starts_with("XCOLORRANGE=")) range = token.substr(12);
  }
  if (header.width == 0 || header.height == 0) {
    throw UserError(name + ": expected a width and height in the Y4M header, found \"" + line + "\"");
  }
  if (!range.empty() && range != "FULL" && range != "LIMITED") {
    throw UserError(name + ": expected XCOLORRANGE=FULL or LIMITED in the Y4M header, found \"" + range +
                    "\"");
  }
  // Where nothing is said, grey is full-range and colour is not: so does ffmpeg write them.
  header.full_range = range.empty() ? header.chroma == Chroma::mono : range == "FULL";
  return header;
}

struct PlaneSize {
  int width, height;
};

PlaneSize chroma_size(const Y4mHeader& header) {
  switch (header.chroma) {
    case Chroma::c420:
      return {(header.width + 1) / 2, (header.height + 1) / 2};
    case Chroma::c422:
      return {(header.width + 1) / 2, header.height};
    case Chroma::c444:
      return {header.width, header.height};
    case Chroma::mono:
      break;
  }
  return {0, 0};
}

// The file does not say which standard its colours follow.
YuvEncoding encoding_of(const Y4mHeader& header) {
  return header.full_range ? YuvEncoding::bt601_full : YuvEncoding::bt601;
}

PixelFormat format_of(Chroma chroma) {
  switch (chroma) {
    case Chroma::c420:
      return PixelFormat::i420;
    case Chroma::mono:
      return PixelFormat::gray;
    case Chroma::c422:
    case Chroma::c444:
      break;
  }
  return PixelFormat::rgb;
}

STPL_RT_MULTIVERSION
void stretch_row(const std::uint8_t* luma, YuvWeights w, int width, std::uint8_t* out) {
#pragma omp simd
  for (int x = 0; x < width; ++x) out[x] = static_cast<std::uint8_t>(yuv_byte(w.scale * (luma[x] - w.black)));
}

STPL_RT_MULTIVERSION
void convert_row(const std::uint8_t* luma, const std::uint8_t* cb, const std::uint8_t* cr, Chroma chroma,
                 YuvWeights w, int width, std::uint8_t* rgb) {
  if (chroma == Chroma::c444) {
    yuv_row_to_rgb(luma, cb, cr, w, width, rgb);
  } else {
    yuv_pairs_to_rgb(luma, cb, cr, 1, w, width, rgb);
  }
}

}  // namespace

Y4mReader::Y4mReader(std::istream& stream, std::string name) : stream_(stream), name_(std::move(name)) {
  header_ = parse_header(name_, read_line("a Y4M header"));
  const PlaneSize chroma = chroma_size(header_);
  const auto luma_bytes = static_cast<std::size_t>(header_.width) * static_cast<std::size_t>(header_.height);
  frame_bytes_ =
      luma_bytes + 2 * static_cast<std::size_t>(chroma.width) * static_cast<std::size_t>(chroma.height);
}

std::string Y4mReader::read_line(const char* what) {
  std::string line;
  for (char c = 0; line.size() < kMaxLine && stream_.get(c);) {
    if (c == '\n') return line;
    line += c;
  }
  throw UserError(name_ + ": expected " + what + ", found " +
                  (line.size() < kMaxLine ? "the end of the video" : "other data"));
}

bool Y4mReader::next() {
  if (stream_.peek() == std::istream::traits_type::eof()) return false;
  const std::string which = "frame " + std::to_string(frames_);
  const std::string line = read_line(("the header of " + which).c_str());
  if (line != "FRAME" && !line.starts_with("FRAME ")) {
    throw UserError(name_ + ": expected \"FRAME\" before " + which + ", found other data");
  }
  read_planes(which);
  convert();
  ++frames_;
  return true;
}

// Memory follows the bytes that are there: the header of a damaged or hostile video may claim a gigabyte.
void Y4mReader::read_planes(const std::string& which) {
  std::size_t read = 0;
  while (read < frame_bytes_) {
    const std::size_t piece = std::min(frame_bytes_ - read, kMaxPiece);
    if (planes_.size() < read + piece) planes_.resize(read + piece);
    stream_.read(reinterpret_cast<char*>(planes_.data() + read), static_cast<std::streamsize>(piece));
    const auto found = static_cast<std::size_t>(stream_.gcount());
    read += found;
    if (found == piece) continue;
    throw UserError(name_ + ": expected " + std::to_string(frame_bytes_) + " bytes of " + which + ", found " +
                    std::to_string(read) + "; the video is cut short");
  }
}

bool Y4mReader::is_converted() const noexcept {
  if (header_.chroma == Chroma::mono) return !header_.full_range;
  return header_.chroma != Chroma::c420;
}

// What the library does not take as it lies: chroma at the full height, and grey that leaves room at both
// ends.
void Y4mReader::convert() {
  if (!is_converted()) return;
  const YuvWeights weights = yuv_weights(encoding_of(header_));
  const auto width = static_cast<std::size_t>(header_.width);
  const auto height = static_cast<std::size_t>(header_.height);
  const auto chroma_width = static_cast<std::size_t>(chroma_size(header_).width);
  const std::size_t bytes = header_.chroma == Chroma::mono ? 1 : 3;
  pixels_.resize(bytes * width * height);
  for (std::size_t y = 0; y < height; ++y) {
    const std::uint8_t* const luma = planes_.data() + y * width;
    std::uint8_t* const out = pixels_.data() + bytes * y * width;
    if (header_.chroma == Chroma::mono) {
      stretch_row(luma, weights, header_.width, out);
      continue;
    }
    const std::uint8_t* const cb = planes_.data() + width * height + y * chroma_width;
    convert_row(luma, cb, cb + chroma_width * height, header_.chroma, weights, header_.width, out);
  }
}

Frame Y4mReader::frame() const noexcept {
  Frame frame;  // planes follow each other without padding, which is what 0 stands for
  frame.data = is_converted() ? pixels_.data() : planes_.data();
  frame.width = header_.width;
  frame.height = header_.height;
  frame.format = format_of(header_.chroma);
  frame.encoding = encoding_of(header_);
  return frame;
}

}  // namespace stpl_rt::cli
