// Flow fields: reading them, chaining them, and how far they can be trusted.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/flow.h>

#include <cstddef>
#include <cstdint>

#include "core/image.h"
#include "core/simd.h"
#include "core/thread_pool.h"

namespace stpl_rt {

// Backward flow as two planes on one grid, in pixels of that grid: past position of (x, y) = (x + dx, y +
// dy).
struct FlowField {
  Image<float> dx;
  Image<float> dy;

  void resize(int width, int height) {
    dx.resize(width, height);
    dy.resize(width, height);
  }
  void fill(float value) noexcept {
    dx.fill(value);
    dy.fill(value);
  }
  [[nodiscard]] int width() const noexcept { return dx.width(); }
  [[nodiscard]] int height() const noexcept { return dx.height(); }
  [[nodiscard]] Size size() const noexcept { return dx.size(); }
};

// Floats from one row to the next. Throws Error(invalid_argument) for a view that cannot be read.
std::ptrdiff_t checked_stride(const FlowView& flow);

// Flow from elsewhere, given on a grid that covers the frame, resampled bilinearly onto `out` (sized by the
// caller), which covers the network's input; vectors are rescaled per axis. Equal grids: a plain copy.
// Throws Error(invalid_argument) for a view that cannot be read.
void read_flow(const FlowView& flow, Size frame, const InputSpec& spec, FlowField& out, ThreadPool& pool);

// Flow t → key from `latest` (t → t-1) and `past` (t-1 → key):
//   out(x) = latest(x) + past(x + latest(x)), read bilinearly, clamped to the border.
// All on one grid. `out` is resized; it may be `latest`, never `past`.
void compose(const FlowField& latest, const FlowField& past, FlowField& out, ThreadPool& pool);

// How far `composed` (t → key) can be trusted, in [0, 1], on the flow's grid: the smallest of
//   - what the past validity says at x + latest(x) (1 where `past_validity` is empty),
//   - the photometric agreement of current(x) and past(x + latest(x)),
//   - whether x + composed(x) lies inside the key frame,
//   - the divergence of `latest`: where many pixels come from few, something hidden has come into view.
// The smallest and not the product: one bad step spoils a pixel, many ordinary ones must not add up.
// Constants and their reasons: validity.h. `out` is resized; it must not be `past_validity`.
void validity(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
              const FlowField& latest, ImageView<const float> past_validity, const FlowField& composed,
              Image<float>& out, ThreadPool& pool);

// The forward-backward check: lowers `validity` where following `latest` (t → t-1) and from there `back`
// (t-1 → t) does not lead back to the pixel, as where it was hidden, or the search went astray. All of one
// size.
void check_return(const FlowField& latest, const FlowField& back, Image<float>& validity, ThreadPool& pool);

}  // namespace stpl_rt
