#include "cli/y4m.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <utility>

#include "cli/arguments.h"
#include "core/image.h"

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

// ITU-R BT.601 in 16.16 fixed point: luma gain, then what V adds to R, U and V to G, U to B.
struct Matrix {
  int luma_offset, luma, v_to_r, u_to_g, v_to_g, u_to_b;
};
constexpr Matrix kLimited = {16, 76309, 104597, -25675, -53279, 132201};
constexpr Matrix kFull = {0, 65536, 91881, -22554, -46802, 116130};

std::uint8_t to_byte(int fixed) {
  return static_cast<std::uint8_t>(std::clamp((fixed + 32768) >> 16, 0, 255));
}

void convert_row(const Matrix& m, const std::uint8_t* y, const std::uint8_t* u, const std::uint8_t* v,
                 int width, int shift, std::uint8_t* rgb) {
  for (int x = 0; x < width; ++x) {
    const int luma = (y[x] - m.luma_offset) * m.luma;
    const int cb = u[x >> shift] - 128;
    const int cr = v[x >> shift] - 128;
    rgb[3 * x] = to_byte(luma + m.v_to_r * cr);
    rgb[3 * x + 1] = to_byte(luma + m.u_to_g * cb + m.v_to_g * cr);
    rgb[3 * x + 2] = to_byte(luma + m.u_to_b * cb);
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

void Y4mReader::convert() {
  const Matrix& matrix = header_.full_range ? kFull : kLimited;
  const std::size_t width = static_cast<std::size_t>(header_.width);
  const auto height = static_cast<std::size_t>(header_.height);
  pixels_.resize((header_.chroma == Chroma::mono ? 1 : 3) * width * height);
  if (header_.chroma == Chroma::mono) {
    for (std::size_t i = 0; i < pixels_.size(); ++i) {
      pixels_[i] = to_byte((planes_[i] - matrix.luma_offset) * matrix.luma);
    }
    return;
  }
  const PlaneSize chroma = chroma_size(header_);
  const auto chroma_width = static_cast<std::size_t>(chroma.width);
  const std::uint8_t* const u = planes_.data() + width * height;
  const std::uint8_t* const v = u + chroma_width * static_cast<std::size_t>(chroma.height);
  const int x_shift = header_.chroma == Chroma::c444 ? 0 : 1;
  const int y_shift = header_.chroma == Chroma::c420 ? 1 : 0;
  for (std::size_t y = 0; y < height; ++y) {
    const std::size_t chroma_row = (y >> y_shift) * chroma_width;
    convert_row(matrix, planes_.data() + y * width, u + chroma_row, v + chroma_row, header_.width, x_shift,
                pixels_.data() + 3 * y * width);
  }
}

Frame Y4mReader::frame() const noexcept {
  const PixelFormat format = header_.chroma == Chroma::mono ? PixelFormat::gray : PixelFormat::rgb;
  return {.data = pixels_.data(),
          .width = header_.width,
          .height = header_.height,
          .stride = 0,
          .format = format};
}

}  // namespace stpl_rt::cli
