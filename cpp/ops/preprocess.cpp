#include "ops/preprocess.h"

#include <algorithm>
#include <array>
#include <string>

#include "ops/frame_rows.h"
#include "ops/geometry.h"
#include "ops/resample.h"

namespace stpl_rt {
namespace {

// How one plane of the output is made.
struct Plane {
  int colour;  // 0 red, 1 green, 2 blue
  float mean;
  float inverse_std;
  const std::uint8_t* lut;  // or nullptr
};
using Planes = std::array<Plane, 3>;

Planes make_planes(const InputSpec& spec) {
  Planes planes{};
  for (int p = 0; p < 3; ++p) {
    const int colour = spec.color_order == ColorOrder::bgr ? 2 - p : p;
    planes[p] = {colour, spec.mean[p], 1.F / spec.std[p], spec.lut ? (*spec.lut)[colour].data() : nullptr};
  }
  return planes;
}

STPL_RT_MULTIVERSION
void normalize_bytes(const std::uint8_t* pixels, int channels, float mean, float inverse_std, int n,
                     float* out) {
  if (channels == 3) {
#pragma omp simd
    for (int i = 0; i < n; ++i) out[i] = normalize(static_cast<float>(pixels[3 * i]), mean, inverse_std);
  } else {
#pragma omp simd
    for (int i = 0; i < n; ++i) out[i] = normalize(static_cast<float>(pixels[i]), mean, inverse_std);
  }
}

STPL_RT_MULTIVERSION
void look_up_floats(const std::uint8_t* pixels, int channels, const float* table, int n, float* out) {
#pragma omp simd
  for (int i = 0; i < n; ++i) out[i] = table[pixels[i * channels]];
}

STPL_RT_MULTIVERSION
void normalize_row(float mean, float inverse_std, int n, float* row) {
#pragma omp simd
  for (int i = 0; i < n; ++i) row[i] = normalize(row[i], mean, inverse_std);
}

// The output's rows: what the frame covers, and the padding around it.
struct Target {
  float* out;
  int width;
  int height;
  Rect content;

  [[nodiscard]] float* content_row(int plane, int y) const {
    return out + (static_cast<std::ptrdiff_t>(plane) * height + content.y + y) * width + content.x;
  }
  void pad() const {
    if (content.width == width && content.height == height) return;
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(width) * height;
    for (int plane = 0; plane < 3; ++plane) {
      float* first = out + plane * area;
      std::fill(first, first + static_cast<std::ptrdiff_t>(content.y) * width, 0.F);
      std::fill(content_row(plane, content.height) - content.x, first + area, 0.F);
      for (int y = 0; y < content.height; ++y) {
        float* row = content_row(plane, y);
        std::fill(row - content.x, row, 0.F);
        std::fill(row + content.width, row - content.x + width, 0.F);
      }
    }
  }
};

void copy_normalized(const FrameRows& frame, const Planes& planes, const Target& target, ThreadPool& pool) {
  // The whole pixel arithmetic of a calibrated byte, tabulated.
  std::array<std::array<float, 256>, 3> tables;
  for (int p = 0; p < 3 && planes[p].lut != nullptr; ++p) {
    for (int v = 0; v < 256; ++v) {
      tables[p][v] = normalize(static_cast<float>(planes[p].lut[v]), planes[p].mean, planes[p].inverse_std);
    }
  }
  pool.parallel_for(frame.height, 16, [&](int begin, int end) {
    static thread_local AlignedBuffer<std::uint8_t> scratch;
    scratch.reserve(frame.scratch_bytes());
    for (int y = begin; y < end; ++y) {
      const std::uint8_t* row = frame.row(y, scratch.data());
      for (int p = 0; p < 3; ++p) {
        const Plane& plane = planes[p];
        const std::uint8_t* pixels = row + frame.byte_of(plane.colour);
        float* out = target.content_row(p, y);
        if (plane.lut != nullptr) {
          look_up_floats(pixels, frame.channels, tables[p].data(), frame.width, out);
        } else {
          normalize_bytes(pixels, frame.channels, plane.mean, plane.inverse_std, frame.width, out);
        }
      }
    }
  });
}

// Source rows, red green blue where they are calibrated or converted, else as they lie. Two are kept:
// neighbouring output rows read the same ones.
class SourceRows {
 public:
  SourceRows(const FrameRows& frame, const InputSpec& spec, AlignedBuffer<std::uint8_t>& buffer)
      : frame_(frame), spec_(spec), row_bytes_(static_cast<std::ptrdiff_t>(frame.width) * channels()) {
    if (!is_made()) return;
    buffer.reserve(static_cast<std::size_t>(2 * row_bytes_) + frame.scratch_bytes());
    rows_ = buffer.data();
  }

  [[nodiscard]] int channels() const { return is_made() ? 3 : frame_.channels; }
  [[nodiscard]] int channel_of(int colour) const { return is_made() ? colour : frame_.byte_of(colour); }
  const std::uint8_t* row(int y) {
    if (!is_made()) return frame_.stored_row(y);
    std::uint8_t* row = rows_ + (y & 1) * row_bytes_;
    if (held_[y & 1] == y) return row;
    held_[y & 1] = y;
    if (!spec_.lut) return frame_.row(y, row);
    const std::uint8_t* pixels = frame_.row(y, rows_ + 2 * row_bytes_);
    for (int colour = 0; colour < 3; ++colour) {
      const std::uint8_t* table = (*spec_.lut)[static_cast<std::size_t>(colour)].data();
      const std::uint8_t* in = pixels + frame_.byte_of(colour);
      for (int x = 0; x < frame_.width; ++x) row[3 * x + colour] = table[in[x * frame_.channels]];
    }
    return row;
  }

 private:
  [[nodiscard]] bool is_made() const { return spec_.lut.has_value() || is_yuv(frame_.format); }

  const FrameRows& frame_;
  const InputSpec& spec_;
  std::ptrdiff_t row_bytes_;
  std::uint8_t* rows_ = nullptr;
  int held_[2] = {-1, -1};
};

struct Resampling {
  const FrameRows& frame;
  const InputSpec& spec;
  const Planes& planes;
  const Target& target;
  const AxisTaps& columns;
  const AxisTaps& rows;
};

void resample_rows(const Resampling& r, int begin, int end) {
  static thread_local AlignedBuffer<std::uint8_t> source_buffer;
  static thread_local AlignedBuffer<float> blended_buffer;
  SourceRows source(r.frame, r.spec, source_buffer);
  const int channels = source.channels();
  const int n = r.frame.width * channels;
  blended_buffer.reserve(static_cast<std::size_t>(r.columns.readable()) * static_cast<std::size_t>(channels));
  float* blended = blended_buffer.data();
  std::fill(blended + n, blended + static_cast<std::ptrdiff_t>(r.columns.readable()) * channels, 0.F);
  for (int y = begin; y < end; ++y) {
    bool fresh = true;
    for (int t = 0; t < r.rows.count(); ++t) {
      const float weight = r.rows.weights(t)[y];
      if (weight == 0.F) continue;
      accumulate(source.row(r.rows.first()[y] + t), weight, fresh, n, blended);
      fresh = false;
    }
    for (int p = 0; p < 3; ++p) {
      const Plane& plane = r.planes[static_cast<std::size_t>(p)];
      float* out = r.target.content_row(p, y);
      resample_row(blended, channels, source.channel_of(plane.colour), r.columns, out);
      normalize_row(plane.mean, plane.inverse_std, r.columns.outputs(), out);
    }
  }
}

}  // namespace

void check_input(const InputSpec& spec) {
  const auto refuse = [](const std::string& text) {
    throw Error(ErrorCode::invalid_argument, "input: " + text);
  };
  if (spec.width < 1 || spec.height < 1) {
    refuse("expected a size of at least 1x1, found " + std::to_string(spec.width) + "x" +
           std::to_string(spec.height));
  }
  for (const float std : spec.std) {
    if (!(std > 0)) refuse("expected std > 0, found " + std::to_string(std));
  }
}

void preprocess(const Frame& frame, const InputSpec& spec, float* out, ThreadPool& pool) {
  const FrameRows source(frame);
  check_input(spec);
  const Planes planes = make_planes(spec);
  const Rect content = content_rect({frame.width, frame.height}, spec);
  const Target target{out, spec.width, spec.height, content};
  target.pad();
  if (content.width == frame.width && content.height == frame.height) {
    copy_normalized(source, planes, target, pool);
    return;
  }
  static thread_local AxisTaps columns;
  static thread_local AxisTaps rows;
  const bool area = spec.filter == ResizeFilter::area;
  columns.build(content_to_source(content.width, frame.width), content.width, frame.width, area);
  rows.build(content_to_source(content.height, frame.height), content.height, frame.height, area);
  const Resampling resampling{source, spec, planes, target, columns, rows};
  pool.parallel_for(content.height, 8, [&](int begin, int end) { resample_rows(resampling, begin, end); });
}

}  // namespace stpl_rt
