#include "ops/validity.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ops/compose.h"
#include "ops/row_positions.h"

namespace stpl_rt {
namespace {

struct Inputs {
  ImageView<const std::uint8_t> current;
  ImageView<const std::uint8_t> past;
  const FlowField& latest;
  ImageView<const float> past_validity;
  const FlowField& composed;
};

// Brightness difference along the flow. Four bytes a pixel from anywhere: the gathers of our vector units
// take 32 bits at least, so this loop stays scalar.
void residual_row(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past, int y,
                  const RowPositions& at, float* out) {
  const ReadSteps<const std::uint8_t> steps(past);
  const std::uint8_t* now = current.row(y);
  for (int x = 0; x < current.width; ++x) {
    const std::uint8_t* p = past.row(at.index_y[x]) + at.index_x[x];
    const float before = read_bilinear(p, steps.right, steps.down, at.weight_x[x], at.weight_y[x]);
    out[x] = std::abs(static_cast<float>(now[x]) - before);
  }
}

STPL_RT_MULTIVERSION
void carried_row(const float* past_validity, int stride, int right, int down, const RowPositions& positions,
                 int width, float* out) {
  const RowPositions at = positions;
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const float* p = past_validity + at.index_y[x] * stride + at.index_x[x];
    out[x] = read_bilinear(p, right, down, at.weight_x[x], at.weight_y[x]);
  }
}

// Central differences, one-sided at the border; `above` and `below` are rows `rows_apart` from each other.
STPL_RT_MULTIVERSION
void divergence_row(const float* dx, const float* dy_above, const float* dy_below, int rows_apart, int width,
                    float* out) {
  const float vertical = rows_apart > 0 ? 1.F / static_cast<float>(rows_apart) : 0.F;
#pragma omp simd
  for (int x = 1; x < width - 1; ++x) {
    out[x] = (dx[x + 1] - dx[x - 1]) * 0.5F + (dy_below[x] - dy_above[x]) * vertical;
  }
  const int last = width - 1;
  const float left = width > 1 ? dx[1] - dx[0] : 0.F;
  const float right = width > 1 ? dx[last] - dx[last - 1] : 0.F;
  out[0] = left + (dy_below[0] - dy_above[0]) * vertical;
  out[last] = right + (dy_below[last] - dy_above[last]) * vertical;
}

// In: `out` holds what is carried.
STPL_RT_MULTIVERSION
void combine_row(const float* residual, const float* divergence, const float* dx, const float* dy, int y,
                 Size size, float* out) {
  const auto last_x = static_cast<float>(size.width - 1);
  const auto last_y = static_cast<float>(size.height - 1);
  const int width = size.width;
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const float outside_x = distance_outside(static_cast<float>(x) + dx[x], last_x);
    const float outside_y = distance_outside(static_cast<float>(y) + dy[x], last_y);
    out[x] = pixel_validity(out[x], residual[x], outside_x, outside_y, divergence[x]);
  }
}

void validity_rows(const Inputs& in, Image<float>& out, int begin, int end) {
  static thread_local AlignedBuffer<float> scratch;
  const Size size = in.latest.size();
  scratch.reserve(2 * static_cast<std::size_t>(size.width));
  float* residual = scratch.data();
  float* divergence = residual + size.width;
  const RowPositions at = RowPositions::make(size.width);
  for (int y = begin; y < end; ++y) {
    locate_row(in.latest.dx.row(y), in.latest.dy.row(y), y, size, at);
    residual_row(in.current, in.past, y, at, residual);
    if (in.past_validity.empty()) {
      std::fill_n(out.row(y), size.width, 1.F);
    } else {
      const ReadSteps<const float> steps(in.past_validity);
      carried_row(in.past_validity.data, static_cast<int>(in.past_validity.stride), steps.right, steps.down,
                  at, size.width, out.row(y));
    }
    const int above = std::max(y - 1, 0);
    const int below = std::min(y + 1, size.height - 1);
    divergence_row(in.latest.dx.row(y), in.latest.dy.row(above), in.latest.dy.row(below), below - above,
                   size.width, divergence);
    combine_row(residual, divergence, in.composed.dx.row(y), in.composed.dy.row(y), y, size, out.row(y));
  }
}

STPL_RT_MULTIVERSION
void return_row(const float* dx, const float* dy, const float* back_dx, const float* back_dy, int stride,
                int right, int down, const RowPositions& positions, int width, float* validity) {
  const RowPositions at = positions;
#pragma omp simd
  for (int x = 0; x < width; ++x) {
    const int offset = at.index_y[x] * stride + at.index_x[x];
    const float back_x = read_bilinear(back_dx + offset, right, down, at.weight_x[x], at.weight_y[x]);
    const float back_y = read_bilinear(back_dy + offset, right, down, at.weight_x[x], at.weight_y[x]);
    validity[x] = smaller(validity[x], pixel_return(dx[x], dy[x], back_x, back_y));
  }
}

void check_size(const char* what, Size expected, Size found) {
  if (expected == found) return;
  throw Error(ErrorCode::invalid_argument,
              std::string("validity: ") + what + ": expected the flow's size " +
                  std::to_string(expected.width) + "x" + std::to_string(expected.height) + ", found " +
                  std::to_string(found.width) + "x" + std::to_string(found.height));
}

}  // namespace

void validity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
              const FlowField& latest, ImageView<const float> past_validity, const FlowField& composed,
              Image<float>& out, ThreadPool& pool) {
  const Size size = latest.size();
  if (size.width < 1 || size.height < 1)
    throw Error(ErrorCode::invalid_argument, "validity: the flow is empty");
  check_size("current luma", size, current.size());
  check_size("past luma", size, past.size());
  check_size("composed flow", size, composed.size());
  if (!past_validity.empty()) check_size("past validity", size, past_validity.size());
  if (!past_validity.empty() && past_validity.data == out.cview().data) {
    throw Error(ErrorCode::internal, "validity: the output must not be the past validity");
  }
  out.resize(size.width, size.height);
  const Inputs inputs{current, past, latest, past_validity, composed};
  pool.parallel_for(size.height, 8, [&](int begin, int end) { validity_rows(inputs, out, begin, end); });
}

void check_return(const FlowField& latest, const FlowField& back, Image<float>& validity, ThreadPool& pool) {
  const Size size = latest.size();
  check_size("flow back", size, back.size());
  check_size("validity", size, validity.size());
  const ReadSteps<const float> steps(back.dx.cview());
  const int stride = static_cast<int>(back.dx.stride());
  pool.parallel_for(size.height, 8, [&](int begin, int end) {
    const RowPositions at = RowPositions::make(size.width);
    for (int y = begin; y < end; ++y) {
      locate_row(latest.dx.row(y), latest.dy.row(y), y, size, at);
      return_row(latest.dx.row(y), latest.dy.row(y), back.dx.row(0), back.dy.row(0), stride, steps.right,
                 steps.down, at, size.width, validity.row(y));
    }
  });
}

}  // namespace stpl_rt
