#include "ops/resample.h"

#include <algorithm>
#include <cmath>

#include "core/simd.h"

namespace stpl_rt {
namespace {

STPL_RT_MULTIVERSION
void resample_pair(const float* row, int channels, const int* first, const float* w0, const float* w1, int n,
                   float* out) {
#pragma omp simd
  for (int i = 0; i < n; ++i) {
    const int at = first[i] * channels;
    out[i] = row[at] * w0[i] + row[at + channels] * w1[i];
  }
}

STPL_RT_MULTIVERSION
void resample_tap(const float* row, int channels, const int* first, const float* weight, bool fresh, int n,
                  float* out) {
  if (fresh) {
#pragma omp simd
    for (int i = 0; i < n; ++i) out[i] = row[first[i] * channels] * weight[i];
  } else {
#pragma omp simd
    for (int i = 0; i < n; ++i) out[i] += row[first[i] * channels] * weight[i];
  }
}

}  // namespace

ResampleMap content_to_source(int n_content, int n_source) {
  const double scale = static_cast<double>(n_source) / n_content;
  return {scale, 0.5 * scale - 0.5};
}

ResampleMap grid_to_source(int n_grid, int n_input, int content_begin, int n_content, int n_source) {
  const double to_source = static_cast<double>(n_source) / n_content;
  const double scale = static_cast<double>(n_input) / n_grid * to_source;
  return {scale, 0.5 * scale - content_begin * to_source - 0.5};
}

void AxisTaps::build(ResampleMap map, int n_out, int n_in, bool area) {
  area = area && map.scale > 1;
  if (map == map_ && n_out == n_out_ && n_in == n_in_ && area == area_) return;
  n_out_ = 0;  // not valid until all is done
  // A box of `scale` elements that begins anywhere touches one more than that.
  count_ = area ? static_cast<int>(std::ceil(map.scale)) + 1 : 2;
  first_.reserve(static_cast<std::size_t>(n_out));
  weights_.reserve(static_cast<std::size_t>(n_out) * static_cast<std::size_t>(count_));
  std::fill_n(weights_.data(), static_cast<std::ptrdiff_t>(n_out) * count_, 0.F);
  n_in_ = n_in;
  n_out_ = n_out;
  for (int i = 0; i < n_out; ++i) {
    const double centre = map.scale * i + map.offset;
    if (area) {
      set_box(i, centre + 0.5 - map.scale / 2, centre + 0.5 + map.scale / 2);
    } else {
      set_linear(i, centre);
    }
  }
  map_ = map;
  area_ = area;
}

void AxisTaps::set_linear(int i, double centre) {
  centre = std::clamp(centre, 0.0, n_in_ - 1.0);
  const int left = std::clamp(static_cast<int>(centre), 0, std::max(0, n_in_ - 2));
  first_.data()[i] = left;
  const double right_weight = centre - left;
  weights_.data()[i] = static_cast<float>(1 - right_weight);
  weights_.data()[n_out_ + i] = static_cast<float>(right_weight);
}

// `low` and `high` are edges: element k extends from k to k + 1.
void AxisTaps::set_box(int i, double low, double high) {
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(n_in_));
  if (high - low < 1e-6) {  // wholly outside: the border's element
    first_.data()[i] = low <= 0 ? 0 : n_in_ - 1;
    weights_.data()[i] = 1.F;
    return;
  }
  // Edges are sums of rounded numbers; a sliver of an element is none.
  const int left = std::clamp(static_cast<int>(low + 1e-6), 0, n_in_ - 1);
  first_.data()[i] = left;
  for (int t = 0; t < count_ && left + t < n_in_; ++t) {
    const double overlap = std::min(high, left + t + 1.0) - std::max(low, static_cast<double>(left + t));
    if (overlap < 1e-6) break;
    weights_.data()[static_cast<std::ptrdiff_t>(t) * n_out_ + i] = static_cast<float>(overlap / (high - low));
  }
}

STPL_RT_MULTIVERSION
void accumulate(const std::uint8_t* row, float weight, bool fresh, int n, float* out) {
  if (fresh) {
#pragma omp simd
    for (int i = 0; i < n; ++i) out[i] = weight * static_cast<float>(row[i]);
  } else {
#pragma omp simd
    for (int i = 0; i < n; ++i) out[i] += weight * static_cast<float>(row[i]);
  }
}

STPL_RT_MULTIVERSION
void accumulate(const std::uint16_t* row, float weight, bool fresh, int n, float* out) {
  if (fresh) {
#pragma omp simd
    for (int i = 0; i < n; ++i) out[i] = weight * static_cast<float>(row[i]);
  } else {
#pragma omp simd
    for (int i = 0; i < n; ++i) out[i] += weight * static_cast<float>(row[i]);
  }
}

void resample_row(const float* row, int channels, int channel, const AxisTaps& taps, float* out) {
  const int n = taps.outputs();
  if (taps.count() == 2) {
    resample_pair(row + channel, channels, taps.first(), taps.weights(0), taps.weights(1), n, out);
    return;
  }
  for (int t = 0; t < taps.count(); ++t) {
    resample_tap(row + channel + t * channels, channels, taps.first(), taps.weights(t), t == 0, n, out);
  }
}

}  // namespace stpl_rt
