// Separable resampling of camera frames: which source pixels make up an output pixel, with which weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/image.h"

namespace stpl_rt {

// source = scale * output + offset, in pixel indices
struct ResampleMap {
  double scale = 1;
  double offset = 0;
  friend bool operator==(const ResampleMap&, const ResampleMap&) = default;
};

// Pixel of what the whole source is resized to → source pixel.
ResampleMap content_to_source(int n_content, int n_source);
// Pixel of a grid that covers the network's input, of whose n_input pixels the source fills n_content from
// content_begin on → source pixel.
ResampleMap grid_to_source(int n_grid, int n_input, int content_begin, int n_content, int n_source);

// One axis. Each output reads count() neighbouring source elements from first(i) on; weights are
// kept tap by tap (weights(t)[i]), so that loops over outputs vectorise.
class AxisTaps {
 public:
  // Linear between centres, or, where `area` and the axis shrinks, the average over the output's extent. What
  // lies outside the source repeats its border. Does nothing if nothing changed.
  void build(ResampleMap map, int n_out, int n_in, bool area);

  [[nodiscard]] int count() const noexcept { return count_; }
  [[nodiscard]] int outputs() const noexcept { return n_out_; }
  [[nodiscard]] const int* first() const noexcept { return first_.data(); }
  [[nodiscard]] const float* weights(int tap) const noexcept {
    return weights_.data() + static_cast<std::ptrdiff_t>(tap) * n_out_;
  }
  // Elements a row must have for every read to stay inside; those past the source's end have weight 0.
  [[nodiscard]] int readable() const noexcept { return n_in_ + count_ - 1; }

 private:
  void set_linear(int i, double centre);
  void set_box(int i, double low, double high);

  ResampleMap map_;
  bool area_ = false;
  int n_out_ = 0;
  int n_in_ = 0;
  int count_ = 0;
  AlignedBuffer<int> first_;
  AlignedBuffer<float> weights_;
};

// out[i] = weight * row[i], or += where not `fresh`
void accumulate(const std::uint8_t* row, float weight, bool fresh, int n, float* out);
void accumulate(const std::uint16_t* row, float weight, bool fresh, int n, float* out);

// out[i] = the taps' weighted sum over channel `channel` of an interleaved row of `channels`
void resample_row(const float* row, int channels, int channel, const AxisTaps& taps, float* out);

}  // namespace stpl_rt
