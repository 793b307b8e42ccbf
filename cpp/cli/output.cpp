#include "cli/output.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <stdexcept>

namespace stpl_rt::cli {

OutputFile::OutputFile(const std::string& path) : path_(path), stream_(path == "-" ? std::cout : file_) {
  if (path == "-") return;
  if (std::filesystem::is_directory(path_))
    throw UserError(path + ": expected a file to write, found a folder");
  temporary_ = path + "." + std::to_string(getpid()) + ".part";
  file_.open(temporary_, std::ios::binary | std::ios::trunc);
  if (!file_) throw UserError(path + ": cannot be written: " + std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (temporary_.empty()) return;
  file_.close();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void OutputFile::write(const void* bytes, std::size_t count) {
  if (!stream_.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count))) fail();
}

void OutputFile::commit() {
  if (!stream_.flush()) fail();
  if (temporary_.empty()) return;
  file_.close();
  std::error_code error;
  if (!file_.fail()) std::filesystem::rename(temporary_, path_, error);
  if (file_.fail() || error) fail();
  temporary_.clear();
}

void OutputFile::fail() const {
  const std::string name = temporary_.empty() ? "standard output" : path_.string();
  throw std::runtime_error(name + ": writing failed: " + std::strerror(errno));
}

MapWriter::MapWriter(const std::string& path, MapFormat format, const Y4mHeader& video)
    : file_(path), format_(format) {
  if (format_ != MapFormat::y4m) return;
  file_.write("YUV4MPEG2 W" + std::to_string(video.width) + " H" + std::to_string(video.height) + " F" +
              video.frame_rate + " Ip Cmono XCOLORRANGE=FULL\n");
}

void MapWriter::write(const ByteMap& map) {
  if (format_ == MapFormat::pgm) {
    file_.write("P5\n" + std::to_string(map.width()) + " " + std::to_string(map.height()) + "\n255\n");
  }
  if (format_ == MapFormat::y4m) file_.write("FRAME\n");
  file_.write(map.data(), map.size());
}

void TimingWriter::write(const Result& result) {
  std::array<char, 320> line{};
  const Timing& t = result.timing;
  const int length = std::snprintf(line.data(), line.size(),
                                   "{\"frame\":%llu,\"is_key\":%s,\"key_reason\":\"%s\",\"age\":%d,"
                                   "\"preprocess_ms\":%.4f,\"flow_ms\":%.4f,"
                                   "\"network_ms\":%.4f,\"sample_ms\":%.4f,\"total_ms\":%.4f}\n",
                                   static_cast<unsigned long long>(result.frame_index),
                                   result.is_key ? "true" : "false", to_string(result.key_reason), result.age,
                                   t.preprocess_ms, t.flow_ms, t.network_ms, t.sample_ms, t.total_ms);
  file_.write(line.data(), static_cast<std::size_t>(length));
}

}  // namespace stpl_rt::cli
