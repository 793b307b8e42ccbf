// Reads 8-bit Y4M (YUV4MPEG2), what `ffmpeg -f yuv4mpegpipe` writes, as frames that the library takes.
#pragma once

#include <stpl_rt/frame.h>

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

namespace stpl_rt::cli {

enum class Chroma { c420, c422, c444, mono };

struct Y4mHeader {
  int width = 0;
  int height = 0;
  std::string frame_rate;  // "30:1" as it stands in the file, "0:0" where absent
  Chroma chroma = Chroma::c420;
  bool full_range = false;  // luma 0..255 rather than 16..235
};

class Y4mReader {
 public:
  // Reads the header. `name` stands for the stream in messages. Throws UserError.
  Y4mReader(std::istream& stream, std::string name);

  // Reads the next frame; false at the end of the video. Throws UserError where the video is cut short.
  bool next();
  // The frame that next() read, valid until it is called again: i420 (BT.601) from 4:2:0 and gray from
  // full-range mono, as they lie in the file; the others converted, to rgb by BT.601 or to full-range gray.
  [[nodiscard]] Frame frame() const noexcept;

  [[nodiscard]] const Y4mHeader& header() const noexcept { return header_; }

 private:
  [[nodiscard]] std::string read_line(const char* what);
  void read_planes(const std::string& which);
  [[nodiscard]] bool is_converted() const noexcept;
  void convert();

  std::istream& stream_;
  std::string name_;
  Y4mHeader header_;
  std::uint64_t frames_ = 0;
  std::size_t frame_bytes_ = 0;
  std::vector<std::uint8_t> planes_;  // Y, then U and V
  std::vector<std::uint8_t> pixels_;  // of frames that are converted
};

}  // namespace stpl_rt::cli
