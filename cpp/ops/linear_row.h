// Linear interpolation between the elements of rows: the separable half of every undisplaced bilinear read.
#pragma once

#include "core/image.h"
#include "ops/geometry.h"

namespace stpl_rt {

// Where each output column reads in a row of n_in elements. Built once per geometry, reused for every row.
class RowTaps {
 public:
  // Column x reads at outer(inner(x)), clamped to the row. Does nothing if nothing changed.
  void build(AxisMap inner, AxisMap outer, int n_out, int n_in);

  // out[0 .. end - begin) = the row at columns [begin, end); `begin` a multiple of 8. Writes, and needs room
  // for, whole blocks of 8.
  void expand(const float* row, int begin, int end, float* out) const;

 private:
  static constexpr int kBlock = 8;

  AxisMap inner_, outer_;
  int n_out_ = 0;
  int n_in_ = 0;
  // Blocks of 8 columns that read within 8 neighbouring elements can be shuffled out of one vector. That
  // holds wherever an image grows by 7/6 or more; otherwise elements are gathered.
  bool shuffles_ = false;
  AlignedBuffer<int> index_;     // left element; relative to the block's base where shuffles_
  AlignedBuffer<int> base_;      // one a block
  AlignedBuffer<float> weight_;  // of the right element
};

// out[i] = mix(a[i], b[i], weight), i < n
void mix_rows(const float* a, const float* b, float weight, int n, float* out);

}  // namespace stpl_rt
